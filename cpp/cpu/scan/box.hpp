// SPDX-License-Identifier: BSD-3-Clause
// A box of parameter points in C order, and numbers over it: what a scan, its vectors of points and a device walk over.
#pragma once

#include <vector>

namespace fisherfield {

// value = data[sum of strides[i] index[i]]; a stride is 0 where the number is the same along an axis.
struct Plane {
    const double* data;
    std::vector<long> strides;

    double at(const std::vector<long>& index) const;
    bool varies() const;
    // The box of the values that it tells apart, inside that of `shape`.
    std::vector<long> extents(const std::vector<long>& shape) const;
};

long points_of(const std::vector<long>& shape);
std::vector<long> index_of(const std::vector<long>& shape, long place);

// Visits the numbers of a box at `strides` in C order, from the one numbered `first` on, until visit(place) says false.
template <class Visit>
void walk(const std::vector<long>& shape, const std::vector<long>& strides, long first, Visit&& visit) {
    std::vector<long> index = index_of(shape, first);
    long place = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        place += strides[axis] * index[axis];
    }
    while (visit(place)) {
        std::size_t axis = shape.size();
        for (; axis-- > 0;) {
            place += strides[axis];
            if (++index[axis] < shape[axis]) {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        if (axis == static_cast<std::size_t>(-1)) {
            return;
        }
    }
}

struct Box {
    std::vector<long> shape;
    std::vector<Plane> planes;

    long points() const { return points_of(shape); }
    // Joins axes along which every plane runs on.
    void coalesce();
    // The planes' numbers for `count` <= `row` points from `first` on, `row` apart; beyond `count` the last one's.
    void fill(long first, int count, int row, double* memory) const;
};

} // namespace fisherfield
