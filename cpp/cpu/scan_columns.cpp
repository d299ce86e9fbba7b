// SPDX-License-Identifier: BSD-3-Clause
#include "scan_columns.hpp"

#include <algorithm>
#include <atomic>
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

// What changes where the mean of all eigenvalues passes the outlier.
bool needs_mean(Quantity which) {
    return which == Quantity::lambda_max || which == Quantity::max_learning_rate || which == Quantity::outlier;
}

class Lookup : public Tabulated {
public:
    explicit Lookup(std::shared_ptr<const Table> table) : table_(std::move(table)) {}

    void block(const double* q, const double* one_minus_c, int count, double* out) const override {
        constexpr Integral order[] = {Integral::second_moment, Integral::covariance, Integral::slope_second_moment,
                                      Integral::slope_covariance};
        alignas(kLine) double inside[2][kBlock];
        for (int first = 0; first < count; first += kBlock) {
            const int some = std::min(kBlock, count - first);
            bool outside[kBlock];
            for (int i = 0; i < kBlock; ++i) {
                const double variance = q[first + i], distance = one_minus_c[first + i];
                outside[i] = !(variance >= table_->low() && variance <= table_->high() && distance <= 2.0);
                inside[0][i] = outside[i] ? table_->high() : variance;
                inside[1][i] = outside[i] ? 1.0 : distance;
            }
            const double* const operands[] = {inside[0], inside[1]};
            for (int k = 0; k < 4; ++k) {
                double* to = out + k * kScanBlock + first;
                table_->block(order[k], of_two(order[k]), operands, some, to);
                for (int i = 0; i < some; ++i) {
                    to[i] = outside[i] ? kNaN : to[i];
                }
            }
        }
    }

private:
    std::shared_ptr<const Table> table_;
};

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

// `count` times x, by copies of what is there: many at a time, which no loop is at -O2.
void repeat(double x, long count, double* to) {
    to[0] = x;
    for (long there = 1; there < count; there *= 2) {
        std::memcpy(to + there, to, std::min(there, count - there) * sizeof(double));
    }
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

bool ScanColumns::any(const Slot* slot, double otherwise, const std::function<bool(double)>& holds) const {
    return !all(slot, otherwise, [&](double x) { return !holds(x); });
}

// Points that some of their parameters make odd, if there are any.
void ScanColumns::mark(const std::vector<std::pair<const Slot*, double>>& from,
                       const std::function<bool(const double*)>& odd) {
    const std::size_t planes = whole_.planes.size(), owned = owned_.size();
    std::atomic<bool> some{false};
    const Column found = derived(from, 1, [&](const double* in, double* out) {
        out[0] = odd(in) ? 1.0 : 0.0;
        some = some || out[0] > 0.0;
    })[0];
    if (some) {
        odd_.push_back(found);
    } else {
        whole_.planes.resize(planes);
        owned_.resize(owned);
    }
}

Column ScanColumns::column(const Slot* slot, double otherwise) {
    if (slot == nullptr) {
        return {otherwise, -1};
    }
    if (!varies(slot->strides)) {
        return {slot->data[0], -1};
    }
    const auto same = [&](const Plane& plane) { return plane.data == slot->data && plane.strides == slot->strides; };
    const auto at = std::find_if(whole_.planes.begin(), whole_.planes.end(), same);
    const int place = static_cast<int>(at - whole_.planes.begin());
    if (at == whole_.planes.end()) {
        whole_.planes.push_back({slot->data, slot->strides});
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
    const Slot *const overlap = slot(Field::overlap, -1), *const length = slot(Field::length, -1);
    const Slot *const samples = slot(Field::samples, -1), *const momentum = slot(Field::momentum, -1);
    const bool samples_infinite = all(samples, settings.samples, [](double n) { return n == 0.0; });
    // Single points that are odd do not make the others slow.
    for (const Slot& each : request_.slots) {
        mark({{&each, 0.0}}, [](const double* in) { return !moderate(in[0]); });
    }
    mark({{samples, settings.samples}, {overlap, settings.overlap}, {length, settings.length}}, [](const double* in) {
        Settings at;
        at.samples = in[0];
        at.overlap = in[1];
        at.length = in[2];
        return !admissible(at, false) || at.one_sample() || !moderate(in[2]);
    });
    const int count = static_cast<int>(network.blocks.size());
    layers_.resize(count);
    for (int l = 0; l < count; ++l) {
        if (!build(l)) {
            return false;
        }
    }
    points_.biases = settings.biases;
    points_.curvature_factor = curvature_factor(request_.loss, network.outputs);
    points_.nesterov = request_.descent.nesterov;
    points_.weight_decay = request_.descent.weight_decay;
    points_.overlap = column(overlap, settings.overlap);
    points_.length = column(length, settings.length);
    points_.samples = column(samples, settings.samples);
    points_.momentum = column(momentum, request_.descent.momentum);
    const std::vector<Column> shares = derived({{samples, settings.samples}}, 2, [](const double* in, double* out) {
        Settings at;
        at.samples = in[0];
        out[0] = at.one_over_n();
        out[1] = at.one_over_n_minus_1();
    });
    points_.one_over_n = shares[0];
    points_.one_over_n_minus_1 = shares[1];
    const std::pair<const Slot*, double> width{slot(Field::width, -1), 0.0};
    const std::vector<Column> sizes = derived({width}, 3, [&](const double* in, double* out) {
        std::vector<Block> blocks = network.blocks;
        if (width.first != nullptr) {
            widen(in[0], blocks.data(), count);
        }
        out[0] = parameters([&](int l) -> const Block& { return blocks[l]; }, count, settings.biases);
        const Shares<double> share = fisherfield::shares(network.outputs, out[0]);
        out[1] = share.all;
        out[2] = share.others;
    });
    points_.parameters = sizes[0];
    points_.share = sizes[1];
    points_.share_of_others = sizes[2];
    points_.odd = odd_.data();
    points_.odds = static_cast<int>(odd_.size());
    const bool bulk = std::find(asked.begin(), asked.end(), Quantity::bulk) != asked.end();
    points_.least_share = bulk && !lookups_.empty() ? 1e-2 : 0.0;
    points_.count = count;
    points_.layers = layers_.data();

    const bool batch_norms = std::any_of(layers_.begin(), layers_.end(), [](const auto& x) { return x.batch_norm; });
    diagonal_ = batch_norms || !samples_infinite || std::any_of(asked.begin(), asked.end(), needs_a) ||
                (std::any_of(asked.begin(), asked.end(), needs_mean) && !outlier_rules());
    kernel_ =
        batch_norms ? scan_kernels().batch_norm[static_cast<int>(settings.theory)] : scan_kernels().vanilla[diagonal_];
    run_ahead();
    whole_.coalesce();
    return true;
}

bool ScanColumns::build(int l) {
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
        if (last || (homogeneous_phi && rays.minus * rays.plus >= 0.0)) {
            return true;
        }
        if (request_.tables.empty() || request_.tables[l] == nullptr) {
            return false;
        }
        lookups_.push_back(std::make_unique<Lookup>(request_.tables[l]));
        layer.table = lookups_.back().get();
        return true;
    }
    layer.batch_norm = true;
    layer.trained = block.trained;
    const auto zero = [](double x) { return x == 0.0; };
    const auto nonzero = [](double x) { return x != 0.0; };
    layer.has_eps = !all(eps, block.eps, zero);
    layer.gamma = column(gamma, block.gamma);
    layer.eps = column(eps, block.eps);

    const bool no_beta = all(beta, block.beta, zero);
    const Slot* const samples = slot(Field::samples, -1);
    const double n = request_.settings.samples;
    const auto closed = [](double x) { return x >= 4.0; };
    if (request_.settings.theory == Theory::exact && !last && homogeneous_phi && any(samples, n, closed)) {
        layer.finite_batch = no_beta && !layer.has_eps && any(gamma, block.gamma, nonzero);
        if (layer.finite_batch) {
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
            layer.value = pair[0];
            layer.difference = pair[1];
            layer.slope = pair[2];
            layer.slope_difference = pair[3];
            mark({{samples, n}}, [](const double* in) { return in[0] < 4.0; });
            mark({{gamma, block.gamma}}, [](const double* in) { return in[0] == 0.0; });
        } else {
            mark({{samples, n}, {gamma, block.gamma}, {beta, block.beta}, {eps, block.eps}},
                 [](const double* in) { return in[0] >= 4.0 && in[1] != 0.0 && in[2] == 0.0 && in[3] == 0.0; });
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

// Whether b > C a/P at every point, for infinite data without BatchNorm and phi of rays with minus plus >= 0: the
// kernel of b alone may then leave a out. Layer l adds A_l = (N q_hat + 1) q_tilde to a, (N q_hat_xy + 1) q_tilde_xy to
// b. The overlap is >= 0, and biases only add to correlations: q_hat_xy/q_hat and E phi' phi'/E phi'^2 grow with them,
// so that c_1 = 0, c_{l+1} = q_hat_xy/q_hat at c_l has the least of both. From l = 2 on b is at least their product
// times A_l, and A_1 <= (N_0 + 1/length) sigma_w2^2/(N_1 sigma_w2^1) A_2 by E phi^2 = q E phi'^2.
bool ScanColumns::outlier_rules() const {
    std::vector<Block> blocks = request_.network.blocks;
    const int count = static_cast<int>(blocks.size());
    if (count < 2 || !lookups_.empty()) {
        return false;
    }
    const auto range = [&](Field field, int layer, double otherwise) {
        std::pair<double, double> out{HUGE_VAL, -HUGE_VAL};
        all(slot(field, layer), otherwise, [&](double x) {
            out = {std::min(out.first, x), std::max(out.second, x)};
            return true;
        });
        return out;
    };
    if (slot(Field::width, -1) != nullptr) {
        widen(range(Field::width, -1, 0.0).first, blocks.data(), count);
    }
    std::vector<double> overlaps, slopes;
    double c = 0.0;
    for (int l = 0; l + 1 < count; ++l) {
        const double a = layers_[l].a, b = layers_[l].b;
        const Covariance pair = closed_form::rays({a - b, a + b}, 1.0, {c, 1.0 - c});
        c = (pair.value / (pair.value + pair.difference)).value();
        overlaps.push_back(c);
        slopes.push_back((pair.slope / (pair.slope + pair.slope_difference)).value());
    }
    double least = 1.0, back = 1.0;
    for (int l = count - 1; l > 0; --l) {
        least = std::fmin(least, overlaps[l - 1] * back);
        back *= slopes[l - 1];
    }
    const Slot* const weights = slot(Field::sigma_w2, 0);
    double ratio = 1.0;
    if (weights == nullptr || weights != slot(Field::sigma_w2, 1)) {
        ratio =
            range(Field::sigma_w2, 1, blocks[1].sigma_w2).second / range(Field::sigma_w2, 0, blocks[0].sigma_w2).first;
    }
    const Settings& settings = request_.settings;
    const double length = range(Field::length, -1, settings.length).first;
    const double first = (blocks[0].fan_in + (settings.biases ? 1.0 / length : 0.0)) / blocks[1].fan_in * ratio;
    const auto layer = [&](int l) -> const Block& { return blocks[l]; };
    const double share = request_.network.outputs / parameters(layer, count, settings.biases);
    return share * (1.0 + first) < 0.999 * least; // roundings of a thousand layers are far below
}

// Whether the output's kernel depends on a slot. Under BatchNorm biases shift what the mean takes away, but for the
// lengths of wei2019; the last layer's own reach nothing.
bool ScanColumns::acts_on_kernel(const Slot& slot) const {
    const std::vector<Block>& blocks = request_.network.blocks;
    const Theory theory = request_.settings.theory;
    const int count = static_cast<int>(blocks.size());
    const auto normed = [](const Block& block) { return block.batch_norm; };
    switch (slot.field) {
    case Field::momentum:
        return false;
    case Field::samples:
        return theory == Theory::exact && std::any_of(blocks.begin(), blocks.end(), normed);
    case Field::sigma_b2:
        for (int l = std::max(slot.layer, 0); l < (slot.layer < 0 ? count : slot.layer + 1); ++l) {
            if (blocks[l].batch_norm ? theory == Theory::wei2019 : l + 1 < count) {
                return true;
            }
        }
        return false;
    default:
        return true;
    }
}

// Where some axes act on what follows from the output's kernel alone, or on nothing, the recursion is run once for all
// of their values.
void ScanColumns::run_ahead() {
    Box box = whole_;
    std::vector<long> recursive(box.shape.size(), 0);
    for (const Slot& each : request_.slots) {
        for (std::size_t axis = 0; axis < recursive.size(); ++axis) {
            recursive[axis] |= each.strides[axis] != 0 && acts_on_kernel(each);
        }
    }
    box.shape = extents(box.shape, recursive);
    const long points = box.points();
    if (2 * points > whole_.points()) {
        return;
    }
    std::vector<double*> kernel;
    for (int k = 0; k < 2; ++k) {
        owned_.push_back(std::make_unique<std::vector<double>>(points + kScanBlock)); // vectors are whole
        kernel.push_back(owned_.back()->data());
    }
    std::vector<long> strides(box.shape.size());
    for (std::size_t axis = strides.size(), total = 1; axis-- > 0; total *= box.shape[axis]) {
        strides[axis] = recursive[axis] != 0 ? static_cast<long>(total) : 0;
    }
    box.coalesce();
    PointColumns ahead = points_;
    ahead.odds = 0; // these depend on what is left out here
    ahead.least_share = 0.0;
    parallel_for((points + kScanBlock - 1) / kScanBlock,
                 [&](long block) {
                     const long first = block * kScanBlock;
                     const int count = static_cast<int>(std::min<long>(kScanBlock, points - first));
                     std::vector<double> memory(box.planes.size() * kScanBlock), left(kScanBlock),
                         result(2 * kScanBlock);
                     double* out[kQuantities] = {};
                     out[static_cast<int>(Quantity::b)] = result.data();
                     out[static_cast<int>(Quantity::d)] = result.data() + kScanBlock;
                     box.fill(first, count, memory.data());
                     kernel_(ahead, memory.data(), count, out, left.data());
                     for (int i = 0; i < count; ++i) {
                         kernel[0][first + i] = std::signbit(left[i]) ? kNaN : result[i];
                         kernel[1][first + i] = result[kScanBlock + i];
                     }
                 },
                 request_.threads);
    const Slot o{Field::momentum, -1, kernel[0], strides}, d{Field::momentum, -1, kernel[1], strides};
    points_.o = column(&o, 0.0);
    points_.d = diagonal_ ? column(&d, 0.0) : Column{};
    kernel_ = scan_kernels().ending[diagonal_];
}

long ScanColumns::Box::points() const {
    long out = 1;
    for (const long extent : shape) {
        out *= extent;
    }
    return out;
}

// Joins axes along which every plane runs on.
void ScanColumns::Box::coalesce() {
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

// The columns of `count` points from `first` on.
void ScanColumns::Box::fill(long first, int count, double* memory) const {
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
            double* to = memory + place * kScanBlock + done;
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
    for (std::size_t place = 0; count < kScanBlock && place < planes.size(); ++place) {
        double* to = memory + place * kScanBlock;
        std::fill(to + count, to + kScanBlock, to[count - 1]); // a vector's rest has some value to work on
    }
}

bool ScanColumns::block(long first, int count, double* memory, double* const* out, double* left) const {
    whole_.fill(first, count, memory);
    return kernel_(points_, memory, count, out, left);
}

} // namespace fisherfield
