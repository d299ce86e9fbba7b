// SPDX-License-Identifier: BSD-3-Clause
#include "scan_columns.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "fisher.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Products of a few of these are far from the ends of float64's range.
bool moderate(double x) { return x == 0.0 || (std::fabs(x) > 1e-30 && std::fabs(x) < 1e30); }

// What a kernel gives; multiplicities are rarely asked for.
bool covered(Quantity which) { return !of_layers(which) && which != Quantity::multiplicity; }

bool needs_a(Quantity which) {
    return which == Quantity::a || which == Quantity::bulk || which == Quantity::mean ||
           which == Quantity::second_moment;
}

// Visits the numbers of a box at `strides` in C order.
template <class Visit>
void walk(const std::vector<long>& shape, const std::vector<long>& strides, Visit&& visit) {
    std::vector<long> index(shape.size());
    long place = 0;
    for (;;) {
        if (!visit(place)) {
            return;
        }
        int axis = static_cast<int>(shape.size()) - 1;
        for (; axis >= 0; --axis) {
            place += strides[axis];
            if (++index[axis] < shape[axis]) {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        if (axis < 0) {
            return;
        }
    }
}

bool varies(const std::vector<long>& strides) {
    return std::any_of(strides.begin(), strides.end(), [](long stride) { return stride != 0; });
}

// The box of what `strides` tell apart.
std::vector<long> extents(const std::vector<long>& shape, const std::vector<long>& strides) {
    std::vector<long> out(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        out[axis] = strides[axis] != 0 ? shape[axis] : 1;
    }
    return out;
}

} // namespace

std::unique_ptr<ScanColumns> ScanColumns::of(const ScanRequest& request) {
    std::unique_ptr<ScanColumns> columns(new ScanColumns(request));
    return columns->build() ? std::move(columns) : nullptr;
}

// The slot that holds for a layer's parameter, or for all layers' (-1): the last one.
const Slot* ScanColumns::slot(Field field, int layer) const {
    const auto at = std::find_if(request_.slots.rbegin(), request_.slots.rend(), [&](const Slot& each) {
        return each.field == field && (each.layer < 0 || each.layer == layer);
    });
    return at == request_.slots.rend() ? nullptr : &*at;
}

bool ScanColumns::all(const Slot* slot, double otherwise, const std::function<bool(double)>& holds) const {
    if (slot == nullptr) {
        return holds(otherwise);
    }
    bool all = true;
    walk(extents(request_.shape, slot->strides), slot->strides, [&](long place) {
        all = holds(slot->data[place]);
        return all;
    });
    return all;
}

Column ScanColumns::column(const Slot* slot, double otherwise) {
    if (slot == nullptr) {
        return {otherwise, -1};
    }
    if (!varies(slot->strides)) {
        return {slot->data[0], -1};
    }
    const auto same = [&](const Plane& plane) { return plane.data == slot->data && plane.strides == slot->strides; };
    const auto at = std::find_if(planes_.begin(), planes_.end(), same);
    const int place = static_cast<int>(at - planes_.begin());
    if (at == planes_.end()) {
        planes_.push_back({slot->data, slot->strides});
    }
    return {0.0, place};
}

// `count` functions of some parameters, once for each set of values that they have together.
std::vector<Column> ScanColumns::derived(const std::vector<std::pair<const Slot*, double>>& from, int count,
                                         const std::function<void(const double* in, double* out)>& formula) {
    const std::size_t axes = request_.shape.size();
    std::vector<long> joint(axes, 0);
    for (const auto& [slot, otherwise] : from) {
        for (std::size_t axis = 0; slot != nullptr && axis < axes; ++axis) {
            joint[axis] |= slot->strides[axis] != 0;
        }
    }
    const std::vector<long> box = extents(request_.shape, joint);
    long total = 1;
    for (std::size_t axis = axes; axis-- > 0;) {
        joint[axis] *= total;
        total *= box[axis];
    }
    std::vector<double*> out;
    for (int k = 0; k < count; ++k) {
        owned_.push_back(std::make_unique<std::vector<double>>(total));
        out.push_back(owned_.back()->data());
    }
    constexpr long rows = 256;
    parallel_for((total + rows - 1) / rows,
                 [&](long row) {
                     std::vector<double> in(from.size()), values(count);
                     for (long place = row * rows; place < std::min(total, (row + 1) * rows); ++place) {
                         for (std::size_t i = 0; i < from.size(); ++i) {
                             const auto& [slot, otherwise] = from[i];
                             long at = 0;
                             for (std::size_t axis = axes, rest = place; slot != nullptr && axis-- > 0;
                                  rest /= box[axis]) {
                                 at += slot->strides[axis] * static_cast<long>(rest % box[axis]);
                             }
                             in[i] = slot != nullptr ? slot->data[at] : otherwise;
                         }
                         formula(in.data(), values.data());
                         for (int k = 0; k < count; ++k) {
                             out[k][place] = values[k];
                         }
                     }
                 },
                 request_.threads);
    std::vector<Column> columns;
    for (int k = 0; k < count; ++k) {
        const Slot made{Field::momentum, -1, out[k], joint};
        columns.push_back(column(&made, 0.0));
    }
    return columns;
}

bool ScanColumns::build() {
    const DescribedNetwork& network = request_.network;
    const Settings& settings = request_.settings;
    const std::vector<Quantity>& asked = request_.quantities;
    if (convolutions(network, settings.theory) > 0 || !std::all_of(asked.begin(), asked.end(), covered)) {
        return false;
    }
    for (const Slot& each : request_.slots) {
        if (!all(&each, 0.0, moderate)) {
            return false;
        }
    }
    const Slot *const overlap = slot(Field::overlap, -1), *const length = slot(Field::length, -1);
    const Slot *const samples = slot(Field::samples, -1), *const momentum = slot(Field::momentum, -1);
    const auto finite = [](double n) { return n > 0.0; };
    const bool samples_finite = all(samples, settings.samples, finite);
    const bool samples_infinite = all(samples, settings.samples, [](double n) { return n == 0.0; });
    double longest_overlap = 0.0;
    const bool overlaps = all(overlap, settings.overlap, [&](double x) {
        longest_overlap = std::fmax(longest_overlap, x);
        return x >= 0.0;
    });
    if (!overlaps || !all(length, settings.length, [&](double x) { return x >= longest_overlap && moderate(x); }) ||
        !all(samples, settings.samples, [](double n) { return n != 1.0; })) {
        return false;
    }
    const int count = static_cast<int>(network.blocks.size());
    layers_.resize(count);
    for (int l = 0; l < count; ++l) {
        if (!build(l, samples_finite, samples_infinite)) {
            return false;
        }
    }
    points_.theory = settings.theory;
    points_.biases = settings.biases;
    points_.outputs = network.outputs;
    points_.curvature_factor = curvature_factor(request_.loss, network.outputs);
    points_.overlap = column(overlap, settings.overlap);
    points_.length = column(length, settings.length);
    points_.samples = column(samples, settings.samples);
    points_.momentum = column(momentum, request_.momentum);
    const std::vector<Column> shares = derived({{samples, settings.samples}}, 2, [](const double* in, double* out) {
        Settings at;
        at.samples = in[0];
        out[0] = at.one_over_n();
        out[1] = at.one_over_n_minus_1();
    });
    points_.one_over_n = shares[0];
    points_.one_over_n_minus_1 = shares[1];
    const std::pair<const Slot*, double> width{slot(Field::width, -1), 0.0};
    points_.parameters = derived({width}, 1, [&](const double* in, double* out) {
        std::vector<Block> blocks = network.blocks;
        if (width.first != nullptr) {
            widen(in[0], blocks.data(), count);
        }
        out[0] = parameters([&](int l) -> const Block& { return blocks[l]; }, count, settings.biases);
    })[0];
    points_.count = count;
    points_.layers = layers_.data();

    const bool batch_norms = std::any_of(layers_.begin(), layers_.end(), [](const auto& x) { return x.batch_norm; });
    const bool diagonal = !samples_infinite || std::any_of(asked.begin(), asked.end(), needs_a);
    kernel_ = batch_norms ? scan_kernels().batch_norm : scan_kernels().vanilla[diagonal];
    coalesce();
    return true;
}

bool ScanColumns::build(int l, bool samples_finite, bool samples_infinite) {
    const std::vector<Block>& blocks = request_.network.blocks;
    const Block& block = blocks[l];
    const bool last = l + 1 == static_cast<int>(blocks.size());
    const Slot *const gamma = slot(Field::gamma, l), *const beta = slot(Field::beta, l);
    const Slot *const eps = slot(Field::eps, l), *const width = l > 0 ? slot(Field::width, -1) : nullptr;
    for (const double x : {block.sigma_w2, block.sigma_b2, block.gamma, block.beta, block.eps}) {
        if (!moderate(x)) {
            return false;
        }
    }
    LayerColumns& layer = layers_[l];
    const double taps = l > 0 ? block.fan_in / blocks[l - 1].units : 0.0;
    layer.fan_in = width == nullptr
                       ? Column{block.fan_in, -1}
                       : derived({{width, 0.0}}, 1, [&](const double* in, double* out) { out[0] = taps * in[0]; })[0];
    layer.sigma_w2 = column(slot(Field::sigma_w2, l), block.sigma_w2);
    layer.sigma_b2 = column(slot(Field::sigma_b2, l), block.sigma_b2);
    Rays rays{1.0, 1.0};
    const bool homogeneous_phi = homogeneous(block.activation, &rays);
    layer.a = 0.5 * (rays.plus + rays.minus);
    layer.b = 0.5 * (rays.plus - rays.minus);
    if (!block.batch_norm) {
        return last || (homogeneous_phi && rays.minus * rays.plus >= 0.0);
    }
    layer.batch_norm = true;
    layer.trained = block.trained;
    const auto zero = [](double x) { return x == 0.0; };
    const auto nonzero = [](double x) { return x != 0.0; };
    layer.has_eps = !all(eps, block.eps, zero);
    layer.gamma = column(gamma, block.gamma);
    layer.eps = column(eps, block.eps);

    const bool no_beta = all(beta, block.beta, zero);
    if (request_.settings.theory == Theory::exact && !last && homogeneous_phi && !samples_infinite) {
        const Slot* const samples = slot(Field::samples, -1);
        const auto closed = [](double n) { return n >= 4.0; };
        const auto open = [](double n) { return n < 4.0; };
        const double n = request_.settings.samples;
        if (samples_finite && no_beta && !layer.has_eps && all(samples, n, closed) &&
            all(gamma, block.gamma, nonzero)) {
            const std::vector<Column> pair = derived({{samples, n}}, 4, [&](const double* in, double* out) {
                Settings settings = request_.settings;
                settings.samples = in[0];
                Block at = block;
                at.gamma = 1.0;
                at.beta = at.eps = 0.0;
                Covariance found;
                finite_batch(at, settings, false, &found);
                out[0] = found.value.value();
                out[1] = found.difference.value();
                out[2] = found.slope.value();
                out[3] = found.slope_difference.value();
            });
            layer.finite_batch = true;
            layer.value = pair[0];
            layer.difference = pair[1];
            layer.slope = pair[2];
            layer.slope_difference = pair[3];
        } else if (!all(samples, n, open) && !all(beta, block.beta, nonzero) && !all(eps, block.eps, nonzero) &&
                   !all(gamma, block.gamma, zero)) {
            return false; // some points may have the finite batch's form and some not
        }
    }
    if (homogeneous_phi && no_beta) {
        return true;
    }
    layer.integrated = true;
    const std::vector<Column> found =
        derived({{gamma, block.gamma}, {beta, block.beta}}, 7, [&](const double* in, double* out) {
            const Moments m = moments(block.activation, std::fabs(in[0]), in[1]);
            const Scaled all[] = {m.mean,           m.variance, m.slope_mean, m.slope_second,
                                  m.slope_variance, m.u_slope,  m.u2_slope2};
            for (int k = 0; k < 7; ++k) {
                out[k] = m.status == Status::ok ? all[k].value() : kNaN;
            }
        });
    layer.mean = found[0];
    layer.variance = found[1];
    layer.slope_mean = found[2];
    layer.slope_second = found[3];
    layer.slope_variance = found[4];
    layer.u_slope = found[5];
    layer.u2_slope2 = found[6];
    return !layer.has_eps;
}

// Joins axes along which every plane runs on.
void ScanColumns::coalesce() {
    for (std::size_t axis = shape_.size(); axis-- > 1;) {
        const bool joined = std::all_of(planes_.begin(), planes_.end(), [&](const Plane& plane) {
            return shape_[axis - 1] == 1 || shape_[axis] == 1 ||
                   plane.strides[axis - 1] == plane.strides[axis] * shape_[axis];
        });
        if (!joined) {
            continue;
        }
        for (Plane& plane : planes_) {
            const std::size_t gone = shape_[axis] == 1 ? axis : axis - 1;
            plane.strides.erase(plane.strides.begin() + static_cast<std::ptrdiff_t>(gone));
        }
        shape_[axis - 1] *= shape_[axis];
        shape_.erase(shape_.begin() + static_cast<std::ptrdiff_t>(axis));
    }
}

bool ScanColumns::block(long first, int count, double* memory, double* const* out, double* left) const {
    const std::size_t axes = shape_.size();
    std::vector<long> index(axes);
    for (std::size_t axis = axes, rest = static_cast<std::size_t>(first); axis-- > 0; rest /= shape_[axis]) {
        index[axis] = static_cast<long>(rest % shape_[axis]);
    }
    for (int done = 0; done < count;) {
        const long run = axes == 0 ? 1 : std::min<long>(count - done, shape_[axes - 1] - index[axes - 1]);
        for (std::size_t place = 0; place < planes_.size(); ++place) {
            const Plane& plane = planes_[place];
            const double* from = plane.data;
            for (std::size_t axis = 0; axis < axes; ++axis) {
                from += plane.strides[axis] * index[axis];
            }
            double* to = memory + place * kScanBlock + done;
            const long stride = axes == 0 ? 0 : plane.strides[axes - 1];
            if (stride == 1) {
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
        for (std::size_t axis = axes; axis-- > 1 && index[axis] == shape_[axis];) {
            index[axis] = 0;
            ++index[axis - 1];
        }
    }
    for (std::size_t place = 0; count < kScanBlock && place < planes_.size(); ++place) {
        double* to = memory + place * kScanBlock;
        std::fill(to + count, to + kScanBlock, to[count - 1]); // a vector's rest has some value to work on
    }
    return kernel_(points_, memory, count, out, left);
}

} // namespace fisherfield
