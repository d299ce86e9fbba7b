// SPDX-License-Identifier: BSD-3-Clause
#include "box.hpp"

#include <algorithm>
#include <cstring>

namespace fisherfield {

namespace {

// `count` times x, by copies of what is there: many at a time, which no loop is at -O2.
void repeat(double x, long count, double* to) {
    to[0] = x;
    for (long there = 1; there < count; there *= 2) {
        std::memcpy(to + there, to, std::min(there, count - there) * sizeof(double));
    }
}

} // namespace

double Plane::at(const std::vector<long>& index) const {
    long place = 0;
    for (std::size_t i = 0; i < index.size(); ++i) {
        place += strides[i] * index[i];
    }
    return data[place];
}

bool Plane::varies() const {
    return std::any_of(strides.begin(), strides.end(), [](long stride) { return stride != 0; });
}

std::vector<long> Plane::extents(const std::vector<long>& shape) const {
    std::vector<long> out(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        out[axis] = strides[axis] != 0 ? shape[axis] : 1;
    }
    return out;
}

long points_of(const std::vector<long>& shape) {
    long out = 1;
    for (const long extent : shape) {
        out *= extent;
    }
    return out;
}

std::vector<long> index_of(const std::vector<long>& shape, long place) {
    std::vector<long> index(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0; place /= shape[axis]) {
        index[axis] = place % shape[axis];
    }
    return index;
}

void Box::coalesce() {
    for (std::size_t axis = shape.size(); axis-- > 1;) {
        const bool joined = std::all_of(planes.begin(), planes.end(), [&](const Plane& plane) {
            return shape[axis - 1] == 1 || shape[axis] == 1 ||
                   plane.strides[axis - 1] == plane.strides[axis] * shape[axis];
        });
        if (!joined) {
            continue;
        }
        for (Plane& plane : planes) {
            const std::size_t gone = shape[axis] == 1 ? axis : axis - 1;
            plane.strides.erase(plane.strides.begin() + static_cast<std::ptrdiff_t>(gone));
        }
        shape[axis - 1] *= shape[axis];
        shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
    }
}

void Box::fill(long first, int count, int row, double* memory) const {
    const std::size_t axes = shape.size();
    std::vector<long> index(axes);
    for (std::size_t axis = axes, rest = static_cast<std::size_t>(first); axis-- > 0; rest /= shape[axis]) {
        index[axis] = static_cast<long>(rest % shape[axis]);
    }
    for (int done = 0; done < count;) {
        const long run = axes == 0 ? 1 : std::min<long>(count - done, shape[axes - 1] - index[axes - 1]);
        for (std::size_t place = 0; place < planes.size(); ++place) {
            const Plane& plane = planes[place];
            const double* from = plane.data;
            for (std::size_t axis = 0; axis < axes; ++axis) {
                from += plane.strides[axis] * index[axis];
            }
            double* to = memory + place * row + done;
            const long stride = axes == 0 ? 0 : plane.strides[axes - 1];
            if (stride == 0) {
                repeat(*from, run, to);
            } else if (stride == 1) {
                std::memcpy(to, from, run * sizeof(double));
            } else {
                for (long i = 0; i < run; ++i) {
                    to[i] = from[stride * i];
                }
            }
        }
        done += static_cast<int>(run);
        if (axes > 0) {
            index[axes - 1] += run;
        }
        for (std::size_t axis = axes; axis-- > 1 && index[axis] == shape[axis];) {
            index[axis] = 0;
            ++index[axis - 1];
        }
    }
    for (std::size_t place = 0; count < row && place < planes.size(); ++place) {
        double* to = memory + place * row;
        std::fill(to + count, to + row, to[count - 1]); // a vector's rest has some value to work on
    }
}

} // namespace fisherfield
