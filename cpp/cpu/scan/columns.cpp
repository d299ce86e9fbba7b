// SPDX-License-Identifier: BSD-3-Clause
#include "columns.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "evaluate.hpp"
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

class Lookup : public Interpolation {
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

} // namespace

std::unique_ptr<ScanColumns> ScanColumns::of(const ScanRequest& request) {
    std::unique_ptr<ScanColumns> columns(new ScanColumns(request));
    return columns->build() ? std::move(columns) : nullptr;
}

ScanColumns::Number ScanColumns::of_point(PointNumber point, double otherwise) const {
    const Slot* const slot = slot_of(request_.slots, point);
    return {slot != nullptr ? &slot->plane : nullptr, otherwise};
}

ScanColumns::Number ScanColumns::of_node(int node, int number) const {
    const Slot* const slot = slot_of(request_.slots, node, number);
    return {slot != nullptr ? &slot->plane : nullptr, request_.network.nodes[node].numbers[number]};
}

bool ScanColumns::all(const Number& number, const std::function<bool(double)>& holds) const {
    if (number.plane == nullptr) {
        return holds(number.otherwise);
    }
    bool all = true;
    walk(number.plane->extents(request_.shape), number.plane->strides, 0, [&](long place) {
        all = holds(number.plane->data[place]);
        return all;
    });
    return all;
}

bool ScanColumns::any(const Number& number, const std::function<bool(double)>& holds) const {
    return !all(number, [&](double x) { return !holds(x); });
}

// Points that some of their numbers set apart from those that kernels do, if there are any.
void ScanColumns::mark(const std::vector<Number>& from, const std::function<bool(const double*)>& apart) {
    const std::size_t planes = whole_.planes.size(), owned = owned_.size();
    std::atomic<bool> some{false};
    const ColumnOrValue marks = derived(from, 1, [&](const double* in, double* out) {
        out[0] = apart(in) ? 1.0 : 0.0;
        some = some || out[0] > 0.0;
    })[0];
    if (some) {
        apart_.push_back(marks);
    } else {
        whole_.planes.resize(planes);
        owned_.resize(owned);
    }
}

ColumnOrValue ScanColumns::column(const Number& number) {
    const Plane* const plane = number.plane;
    if (plane == nullptr || !plane->varies()) {
        return {plane == nullptr ? number.otherwise : plane->data[0], -1};
    }
    const auto same = [&](const Plane& each) { return each.data == plane->data && each.strides == plane->strides; };
    const auto at = std::find_if(whole_.planes.begin(), whole_.planes.end(), same);
    const int place = static_cast<int>(at - whole_.planes.begin());
    if (at == whole_.planes.end()) {
        whole_.planes.push_back(*plane);
    }
    return {0.0, place};
}

// `count` functions of some parameters, once for each set of values that they have together.
std::vector<ColumnOrValue> ScanColumns::derived(const std::vector<Number>& from, int count,
                                                const std::function<void(const double* in, double* out)>& formula) {
    const std::size_t axes = request_.shape.size();
    std::vector<long> joint(axes, 0);
    for (const Number& each : from) {
        for (std::size_t axis = 0; each.plane != nullptr && axis < axes; ++axis) {
            joint[axis] |= each.plane->strides[axis] != 0;
        }
    }
    const std::vector<long> box = Plane{nullptr, joint}.extents(request_.shape);
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
                             const auto& [plane, otherwise] = from[i];
                             long at = 0;
                             for (std::size_t axis = axes, rest = place; plane != nullptr && axis-- > 0;
                                  rest /= box[axis]) {
                                 at += plane->strides[axis] * static_cast<long>(rest % box[axis]);
                             }
                             in[i] = plane != nullptr ? plane->data[at] : otherwise;
                         }
                         formula(in.data(), values.data());
                         for (int k = 0; k < count; ++k) {
                             out[k][place] = values[k];
                         }
                     }
                 },
                 request_.threads);
    std::vector<ColumnOrValue> columns;
    for (int k = 0; k < count; ++k) {
        const Plane made{out[k], joint};
        columns.push_back(column({&made, 0.0}));
    }
    return columns;
}

// A chain, and sums of branches with the stream that came before: one is held at a time.
std::vector<ScanColumns::Group> ScanColumns::groups() const {
    const std::vector<Node>& nodes = request_.network.nodes;
    const int count = static_cast<int>(nodes.size());
    std::vector<char> summed(count + 1); // by a later sum, as its skip
    for (const Node& node : nodes) {
        if (node.other != kNone) {
            summed[node.other + 1] = 1;
        }
    }
    std::vector<Group> out;
    int held = kNone;
    for (int i = 0; i < count; ++i) {
        const Node& node = nodes[i];
        const LayerRow& row = row_of(node.kind);
        if (node.input != i - 1 || (out.empty() && node.kind != LayerKind::affine)) {
            return {};
        }
        if (node.kind == LayerKind::affine) {
            out.push_back({});
            out.back().affine = i;
            out.back().last = node.layer + 1 == request_.network.layers;
            out.back().phi = &request_.network.activations[0];
        } else if (node.other != kNone) {
            if (node.other != held || out.back().affine != i - 1) {
                return {};
            }
            out.back().sum = i;
        } else if (row.normalises) { // phi, too, where it is one layer with it
            out.back().norm = i;
            out.back().phi = &request_.network.activations[node.activation];
        } else if (row.of_sample) {
            (node.gaussian ? out.back().before : out.back().behind) = i;
        } else if (node.kind == LayerKind::phi) {
            out.back().phi = &request_.network.activations[node.activation];
        } else {
            return {};
        }
        if (summed[i + 1]) {
            if (i != std::max(out.back().affine, out.back().sum)) {
                return {};
            }
            out.back().holds = true;
            held = i;
        }
    }
    return out.back().plain() || !out.back().last ? out : std::vector<Group>{};
}

bool ScanColumns::build() {
    const Network& network = request_.network;
    const Settings& settings = request_.settings;
    const std::vector<Quantity>& asked = request_.quantities;
    const std::vector<Group> all_layers = groups();
    const int count = static_cast<int>(all_layers.size());
    if (network.positional() > 0 || count == 0 || !std::all_of(asked.begin(), asked.end(), covered)) {
        return false;
    }
    if (std::any_of(request_.slots.begin(), request_.slots.end(), [](const Slot& slot) { return slot.scales(); })) {
        return false;
    }
    sums_ = !std::all_of(all_layers.begin(), all_layers.end(), [](const Group& group) { return group.plain(); });
    const Number overlap = of_point(PointNumber::overlap, settings.overlap);
    const Number length = of_point(PointNumber::length, settings.length);
    const Number samples = of_point(PointNumber::samples, settings.samples);
    const bool samples_infinite = all(samples, [](double n) { return n == 0.0; });
    // Single points apart do not make the others slow.
    for (const Slot& each : request_.slots) {
        mark({{&each.plane, 0.0}}, [](const double* in) { return !moderate(in[0]); });
    }
    mark({samples, overlap, length}, [](const double* in) {
        Settings at;
        at.samples = in[0];
        at.overlap = in[1];
        at.length = in[2];
        return !at.admissible(false) || at.one_sample() || !moderate(in[2]);
    });
    layers_.resize(count);
    for (int l = 0; l < count; ++l) {
        if (!build(all_layers[l], &layers_[l])) {
            return false;
        }
    }
    points_.biases = settings.biases;
    points_.curvature_factor = curvature_factor(request_.loss, network.outputs());
    points_.nesterov = request_.descent.nesterov;
    points_.weight_decay = request_.descent.weight_decay;
    points_.overlap = column(overlap);
    points_.length = column(length);
    points_.samples = column(samples);
    points_.momentum = column(of_point(PointNumber::momentum, request_.descent.momentum));
    const std::vector<ColumnOrValue> shares = derived({samples}, 2, [](const double* in, double* out) {
        Settings at;
        at.samples = in[0];
        out[0] = at.one_over_n();
        out[1] = at.one_over_n_minus_1();
    });
    points_.one_over_n = shares[0];
    points_.one_over_n_minus_1 = shares[1];
    const Number width = of_point(PointNumber::width, 0.0);
    const std::vector<ColumnOrValue> sizes = derived({width}, 3, [&](const double* in, double* out) {
        const Network wide = width.plane != nullptr ? network.widened(in[0]) : network;
        const auto node = [&](int i) -> const Node& { return wide.nodes[i]; };
        out[0] = parameters(node, static_cast<int>(wide.nodes.size()), settings.biases);
        const Shares<double> share = fisherfield::shares(network.outputs(), out[0]);
        out[1] = share.all;
        out[2] = share.others;
    });
    points_.parameters = sizes[0];
    points_.share = sizes[1];
    points_.share_of_others = sizes[2];
    points_.apart = apart_.data();
    points_.aparts = static_cast<int>(apart_.size());
    const bool bulk = std::find(asked.begin(), asked.end(), Quantity::bulk) != asked.end();
    points_.least_share = bulk && !lookups_.empty() ? 1e-2 : 0.0;
    points_.count = count;
    points_.layers = layers_.data();

    const bool batch_norms = network.normalised();
    diagonal_ = batch_norms || !samples_infinite || std::any_of(asked.begin(), asked.end(), needs_a) ||
                (std::any_of(asked.begin(), asked.end(), needs_mean) && !outlier_rules());
    const int theory = static_cast<int>(settings.theory);
    kernel_ = sums_         ? scan_kernels().sums[batch_norms ? 1 + theory : 0]
              : batch_norms ? scan_kernels().batch_norm[theory]
                            : scan_kernels().vanilla[diagonal_];
    run_ahead();
    whole_.coalesce();
    return true;
}

bool ScanColumns::build(const Group& group, LayerColumns* layer) {
    const std::vector<Node>& nodes = request_.network.nodes;
    const Node& affine = nodes[group.affine];
    for (const int node : {group.affine, group.sum, group.norm, group.before, group.behind}) {
        for (int k = 0; node >= 0 && k < kLayerNumbers; ++k) {
            if (!moderate(nodes[node].numbers[k])) {
                return false;
            }
        }
    }
    const Number width = of_point(PointNumber::width, 0.0);
    layer->fan_in = width.plane == nullptr || affine.taps == 0.0
                        ? ColumnOrValue{affine.fan_in, -1}
                        : derived({width}, 1, [&](const double* in, double* out) { out[0] = affine.taps * in[0]; })[0];
    layer->sigma_w2 = column(of_node(group.affine, 0));
    layer->sigma_b2 = column(of_node(group.affine, 1));
    layer->biases = affine.trained;
    layer->holds = group.holds;
    layer->sums = group.sum >= 0;
    if (layer->sums) {
        layer->scale = column(of_node(group.sum, 0));
    }
    const auto scaling = [&](int node, ScaleColumns* out) {
        if (node >= 0) {
            out->node = &nodes[node];
            for (int k = 0; k < row_of(nodes[node].kind).count(); ++k) {
                out->numbers[k] = column(of_node(node, k));
            }
        }
    };
    scaling(group.before, &layer->before);
    scaling(group.behind, &layer->behind);
    if (group.before >= 0) { // phi of rays has closed forms around 0 alone, tables have no kernel of u
        const int beta = row_of(nodes[group.before].kind).place_of("beta");
        if (beta >= 0 && any(of_node(group.before, beta), [](double x) { return x != 0.0; })) {
            return false;
        }
    }
    Rays rays{1.0, 1.0};
    const bool homogeneous_phi = homogeneous(*group.phi, &rays);
    layer->a = 0.5 * (rays.plus + rays.minus);
    layer->b = 0.5 * (rays.plus - rays.minus);
    if (group.norm < 0) {
        if (group.last || (homogeneous_phi && rays.minus * rays.plus >= 0.0)) {
            return true;
        }
        if (request_.tables.empty() || request_.tables[affine.layer] == nullptr || layer->behind.node != nullptr ||
            (layer->before.node != nullptr && layer->before.node->trained)) {
            return false;
        }
        lookups_.push_back(std::make_unique<Lookup>(request_.tables[affine.layer]));
        layer->table = lookups_.back().get();
        return true;
    }
    const Node& norm = nodes[group.norm];
    const Number gamma = of_node(group.norm, 0), beta = of_node(group.norm, 1), eps = of_node(group.norm, 2);
    const Number samples = of_point(PointNumber::samples, request_.settings.samples);
    const auto zero = [](double x) { return x == 0.0; };
    layer->batch_norm = true;
    layer->trained = norm.trained;
    layer->has_eps = !all(eps, zero);
    layer->gamma = column(gamma);
    layer->eps = column(eps);

    // Where the law of a closed batch holds at some points alone, those are set apart.
    const bool no_beta = all(beta, zero);
    const auto closed_at = [&](const double* in) {
        Settings settings = request_.settings;
        settings.samples = in[0];
        return BatchNorm<>{in[1], in[2], in[3], false, norm.homogeneous}.closed(settings);
    };
    if (request_.settings.theory == Theory::exact && norm.homogeneous &&
        any(samples, [](double n) { return n >= 4.0; })) {
        layer->closed = no_beta && !layer->has_eps && any(gamma, [](double x) { return x != 0.0; });
        if (!layer->closed) {
            mark({samples, gamma, beta, eps}, closed_at);
        } else {
            mark({samples}, [](const double* in) { return in[0] < 4.0; });
            mark({gamma}, [](const double* in) { return in[0] == 0.0; });
            const std::vector<ColumnOrValue> pair = derived({samples}, 4, [&](const double* in, double* out) {
                const double r = 1.0 / (in[0] - 1.0);
                const Covariance unit = closed_form::rays(rays, 1.0, {-r, 1.0 + r});
                out[0] = unit.value.value();
                out[1] = unit.difference.value();
                out[2] = unit.slope.value();
                out[3] = unit.slope_difference.value();
            });
            layer->value = pair[0];
            layer->difference = pair[1];
            layer->slope = pair[2];
            layer->slope_difference = pair[3];
        }
    }
    if (homogeneous_phi && no_beta) {
        return true;
    }
    layer->integrated = true;
    const std::vector<ColumnOrValue> integrals = derived({gamma, beta}, 7, [&](const double* in, double* out) {
        const Moments m = moments(*group.phi, std::fabs(in[0]), in[1]);
        const Scaled each[] = {m.mean,           m.variance, m.slope_mean, m.slope_second,
                               m.slope_variance, m.u_slope,  m.u2_slope2};
        for (int k = 0; k < 7; ++k) {
            out[k] = m.status == Status::ok ? each[k].value() : kNaN;
        }
    });
    layer->mean = integrals[0];
    layer->variance = integrals[1];
    layer->slope_mean = integrals[2];
    layer->slope_second = integrals[3];
    layer->slope_variance = integrals[4];
    layer->u_slope = integrals[5];
    layer->u2_slope2 = integrals[6];
    return !layer->has_eps;
}

// Whether b > C a/P at every point, for infinite data without BatchNorm and phi of rays with minus plus >= 0: the
// kernel of b alone may then leave a out. Layer l adds A_l = (N q_hat + 1) q_tilde to a, (N q_hat_xy + 1) q_tilde_xy to
// b. The overlap is >= 0, and biases only add to correlations: q_hat_xy/q_hat and E phi' phi'/E phi'^2 grow with them,
// so that c_1 = 0, c_{l+1} = q_hat_xy/q_hat at c_l has the least of both. From l = 2 on b is at least their product
// times A_l, and A_1 <= (N_0 + 1/length) sigma_w2^2/(N_1 sigma_w2^1) A_2 by E phi^2 = q E phi'^2.
bool ScanColumns::outlier_rules() const {
    const int count = static_cast<int>(layers_.size());
    if (count < 2 || !lookups_.empty() || sums_) {
        return false;
    }
    const auto range = [&](const Number& number) {
        std::pair<double, double> out{HUGE_VAL, -HUGE_VAL};
        all(number, [&](double x) {
            out = {std::min(out.first, x), std::max(out.second, x)};
            return true;
        });
        return out;
    };
    const Number width = of_point(PointNumber::width, 0.0);
    const Network network = width.plane != nullptr ? request_.network.widened(range(width).first) : request_.network;
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
    const std::vector<Group> layers = groups();
    const Number weights = of_node(layers[0].affine, 0), next = of_node(layers[1].affine, 0);
    const double ratio =
        weights.plane != nullptr && weights.plane == next.plane ? 1.0 : range(next).second / range(weights).first;
    const Settings& settings = request_.settings;
    const double length = range(of_point(PointNumber::length, settings.length)).first;
    const auto node = [&](int i) -> const Node& { return network.nodes[i]; };
    const double first = (node(layers[0].affine).fan_in + (settings.biases ? 1.0 / length : 0.0)) /
                         node(layers[1].affine).fan_in * ratio;
    const double share = network.outputs() / parameters(node, static_cast<int>(network.nodes.size()), settings.biases);
    return share * (1.0 + first) < 0.999 * least; // roundings of a thousand layers are far below
}

// Whether the output's kernel depends on a slot. Under BatchNorm biases shift what the mean takes away, but for the
// lengths of wei2019; the last layer's own reach nothing.
bool ScanColumns::acts_on_kernel(const Slot& slot) const {
    const Theory theory = request_.settings.theory;
    switch (slot.point) {
    case PointNumber::momentum:
        return false;
    case PointNumber::samples:
        return theory == Theory::exact && request_.network.normalised();
    case PointNumber::none:
        break;
    default:
        return true;
    }
    const std::vector<Group> layers = groups();
    return sums_ || std::any_of(slot.places.begin(), slot.places.end(), [&](const Place& place) {
               const Group& group = layers[request_.network.nodes[place.node].layer];
               const bool biases = place.node == group.affine && place.number == 1;
               return !biases || (group.norm >= 0 ? theory == Theory::wei2019 : !group.last);
           });
}

// Where some axes act on what follows from the output's kernel alone, or on nothing, the recursion is run once for all
// of their values.
void ScanColumns::run_ahead() {
    Box box = whole_;
    std::vector<long> recursive(box.shape.size(), 0);
    for (const Slot& each : request_.slots) {
        for (std::size_t axis = 0; axis < recursive.size(); ++axis) {
            recursive[axis] |= each.plane.strides[axis] != 0 && acts_on_kernel(each);
        }
    }
    box.shape = Plane{nullptr, recursive}.extents(box.shape);
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
    ahead.aparts = 0; // these depend on what is left out here
    ahead.least_share = 0.0;
    parallel_for((points + kScanBlock - 1) / kScanBlock,
                 [&](long block) {
                     const long first = block * kScanBlock;
                     const int count = static_cast<int>(std::min<long>(kScanBlock, points - first));
                     std::vector<double> memory(box.planes.size() * kScanBlock), outside(kScanBlock),
                         result(2 * kScanBlock);
                     double* out[kQuantities] = {};
                     out[static_cast<int>(Quantity::b)] = result.data();
                     out[static_cast<int>(Quantity::d)] = result.data() + kScanBlock;
                     box.fill(first, count, kScanBlock, memory.data());
                     kernel_(ahead, memory.data(), count, out, outside.data());
                     for (int i = 0; i < count; ++i) {
                         kernel[0][first + i] = std::signbit(outside[i]) ? kNaN : result[i];
                         kernel[1][first + i] = result[kScanBlock + i];
                     }
                 },
                 request_.threads);
    const Plane o{kernel[0], strides}, d{kernel[1], strides};
    points_.o = column({&o, 0.0});
    points_.d = diagonal_ ? column({&d, 0.0}) : ColumnOrValue{};
    kernel_ = scan_kernels().ending[diagonal_];
}

bool ScanColumns::block(long first, int count, double* memory, double* const* out, double* outside) const {
    whole_.fill(first, count, kScanBlock, memory);
    return kernel_(points_, memory, count, out, outside);
}

} // namespace fisherfield
