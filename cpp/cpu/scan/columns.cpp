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

bool moderate(const Node& node) {
    return std::all_of(node.numbers, node.numbers + kLayerNumbers, [](double x) { return moderate(x); });
}

std::unique_ptr<ScanColumns> ScanColumns::of(const ScanRequest& request) {
    std::unique_ptr<ScanColumns> columns(new ScanColumns(request));
    return columns->build() ? std::move(columns) : nullptr;
}

ScanColumns::Number ScanColumns::of_point(PointNumber point, double otherwise) const {
    const Slot* const slot = slot_of(request_.slots, point);
    return {slot != nullptr ? &slot->plane : nullptr, otherwise};
}

ScanColumns::Number ScanColumns::of_node(int node, int number) {
    const double described = request_.network.nodes[node].numbers[number];
    const Slot* const slot = slot_of(request_.slots, node, number);
    if (slot == nullptr || !slot->scales()) {
        return {slot != nullptr ? &slot->plane : nullptr, described};
    }
    const auto [at, is_new] = multiples_.try_emplace({slot, described});
    if (is_new) {
        const ColumnOrValue product =
            derived({{&slot->plane, 0.0}}, 1, [&](const double* in, double* out) { out[0] = described * in[0]; })[0];
        at->second = product.place < 0
                         ? Plane{&(values_.emplace_back(product.value)), std::vector<long>(request_.shape.size())}
                         : whole_.planes[product.place];
    }
    return {&at->second, described};
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

// A chain of affine layers, each with a BatchNorm behind it or none, and phi.
std::vector<ScanColumns::Group> ScanColumns::groups() const {
    const std::vector<Node>& nodes = request_.network.nodes;
    std::vector<Group> out;
    for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
        const Node& node = nodes[i];
        const bool affine = node.kind == LayerKind::affine, norm = row_of(node.kind).normalises;
        if (node.other != kNone || (out.empty() && !affine) || !(affine || norm || node.kind == LayerKind::phi)) {
            return {};
        }
        if (affine) {
            out.push_back({});
            out.back().affine = i;
            out.back().last = node.layer + 1 == request_.network.layers;
        } else if (norm) {
            out.back().norm = i;
        }
        out.back().phi = &request_.network.activations[node.activation]; // a norm's, where it is one layer with phi
    }
    return out;
}

// Whether a number has an axis of its own beside that of what it is multiplied with.
bool ScanColumns::multiplied_twice() const {
    const std::vector<Slot>& slots = request_.slots;
    return std::any_of(slots.begin(), slots.end(), [&](const Slot& slot) {
        return slot.scales() && std::any_of(slot.places.begin(), slot.places.end(), [&](const Place& place) {
                   return std::count_if(slots.begin(), slots.end(),
                                        [&](const Slot& other) { return other.holds(place.node, place.number); }) > 1;
               });
    });
}

bool ScanColumns::build() {
    const Network& network = request_.network;
    const Settings& settings = request_.settings;
    const std::vector<Quantity>& asked = request_.quantities;
    if (network.positional() > 0 || network.layers == 0 || !std::all_of(asked.begin(), asked.end(), covered) ||
        multiplied_twice()) {
        return false;
    }
    const std::vector<Group> all_layers = groups();
    graph_ = all_layers.empty();
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
    if (graph_ && !build_nodes()) {
        return false;
    }
    for (const Group& group : all_layers) {
        layers_.emplace_back();
        if (!build(group, &layers_.back())) {
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
    points_.count = static_cast<int>(graph_ ? nodes_.size() : layers_.size());
    points_.layers = layers_.data();
    points_.nodes = nodes_.data();
    points_.slots = network.slots + 1;

    const bool batch_norms = network.normalised();
    diagonal_ = batch_norms || !samples_infinite || std::any_of(asked.begin(), asked.end(), needs_a) || graph_ ||
                (std::any_of(asked.begin(), asked.end(), needs_mean) && !outlier_rules());
    bound_edges();
    kernel_ = graph_        ? scan_kernels().graph
              : batch_norms ? scan_kernels().batch_norm[static_cast<int>(settings.theory)]
                            : scan_kernels().vanilla[diagonal_];
    run_ahead();
    whole_.coalesce();
    return true;
}

const Interpolation* ScanColumns::lookup(const std::shared_ptr<const Table>& table) {
    lookups_.push_back(std::make_unique<Lookup>(table));
    return lookups_.back().get();
}

bool ScanColumns::build(const Group& group, LayerColumns* layer) {
    const std::vector<Node>& nodes = request_.network.nodes;
    const Node& affine = nodes[group.affine];
    if (!moderate(affine) || (group.norm >= 0 && !moderate(nodes[group.norm]))) {
        return false;
    }
    layer->fan_in = fan_in(affine);
    layer->sigma_w2 = column(of_node(group.affine, 0));
    layer->sigma_b2 = column(of_node(group.affine, 1));
    layer->biases = affine.trained;
    Rays rays{1.0, 1.0};
    const bool homogeneous_phi = homogeneous(*group.phi, &rays);
    layer->a = 0.5 * (rays.plus + rays.minus);
    layer->b = 0.5 * (rays.plus - rays.minus);
    if (group.norm < 0) {
        if (group.last || (homogeneous_phi && rays.minus * rays.plus >= 0.0)) {
            return true;
        }
        if (request_.tables.empty() || request_.tables[affine.layer] == nullptr) {
            return false;
        }
        layer->table = lookup(request_.tables[affine.layer]);
        return true;
    }
    const Node& norm = nodes[group.norm];
    const Number gamma = of_node(group.norm, 0), beta = of_node(group.norm, 1), eps = of_node(group.norm, 2);
    const auto zero = [](double x) { return x == 0.0; };
    layer->batch_norm = true;
    layer->trained = norm.trained;
    layer->has_eps = !all(eps, zero);
    layer->gamma = column(gamma);
    layer->eps = column(eps);
    if (closed(group.norm)) {
        close(rays, layer);
    }
    if (homogeneous_phi && all(beta, zero)) {
        return true;
    }
    integrate(*group.phi, gamma, beta, layer);
    return !layer->has_eps;
}

// Whether b > C a/P at every point, for infinite data without BatchNorm and phi of rays with minus plus >= 0: the
// kernel of b alone may then leave a out. Layer l adds A_l = (N q_hat + 1) q_tilde to a, (N q_hat_xy + 1) q_tilde_xy to
// b. The overlap is >= 0, and biases only add to correlations: q_hat_xy/q_hat and E phi' phi'/E phi'^2 grow with them,
// so that c_1 = 0, c_{l+1} = q_hat_xy/q_hat at c_l has the least of both. From l = 2 on b is at least their product
// times A_l, and A_1 <= (N_0 + 1/length) sigma_w2^2/(N_1 sigma_w2^1) A_2 by E phi^2 = q E phi'^2.
bool ScanColumns::outlier_rules() {
    const int count = static_cast<int>(layers_.size());
    if (count < 2 || !lookups_.empty() || graph_) {
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

// What a/b is at most, where b alone is computed; `ratio` is sigma_w2 of the second layer over that of the first.
//
// As in outlier_rules() b has at least r_l of what layer l adds to a, r_1 = 0. So a/b <= (1 + first)/min r_l. And with
// one sigma_w2 and one phi in all layers, q_hat_{l-1} q_tilde_l never falls with l: nor does r_l, so that weights alone
// have sum N_l of a for sum N_l r_l of b (Chebyshev's inequality). Biases' parts q_tilde_l never fall either if
// sigma_w2 E phi'^2 <= 1, and are at most 1/(N_l length) of the weights' if it is >= 1.
double ScanColumns::most_of_a(const Network& wide, double length, double ratio) const {
    const int count = static_cast<int>(layers_.size());
    const std::vector<Group> layers = groups();
    const auto inputs = [&](int l) { return wide.nodes[layers[l].affine].fan_in; };
    const auto biased = [&](int l) { return request_.settings.biases && layers_[l].biases ? 1.0 : 0.0; };
    std::vector<double> kept(count, 1.0), overlaps(count, 0.0); // of q_tilde behind each layer, of q_hat before it
    double c = 0.0;
    bool equal = true;
    for (int l = 0; l + 1 < count; ++l) {
        const double a = layers_[l].a, b = layers_[l].b;
        const Covariance pair = closed_form::rays({a - b, a + b}, 1.0, {c, 1.0 - c});
        c = overlaps[l + 1] = (pair.value / (pair.value + pair.difference)).value();
        kept[l] = (pair.slope / (pair.slope + pair.slope_difference)).value();
        const ColumnOrValue &own = layers_[l].sigma_w2, &next = layers_[l + 1].sigma_w2;
        equal = equal && own.value == next.value && own.place == next.place && a == layers_[0].a && b == layers_[0].b;
    }
    double least = 1.0, weights = 0.0, of_b = 0.0, biases = 0.0, biases_of_b = 0.0, most = 0.0, back = 1.0;
    for (int l = count - 1; l >= 0; --l) {
        back = l + 1 < count ? back * kept[l] : 1.0;
        least = l > 0 ? std::fmin(least, overlaps[l] * back) : least;
        weights += inputs(l);
        of_b += inputs(l) * overlaps[l] * back;
        biases += biased(l);
        biases_of_b += biased(l) * back;
        most = std::fmax(most, biased(l) / (inputs(l) * length));
    }
    const double first = (inputs(0) + biased(0) / length) / inputs(1) * ratio;
    const double whole = std::fmax((1.0 + most) * weights / of_b, biases > 0.0 ? biases / biases_of_b : 1.0);
    return std::fmin((1.0 + first) / least, equal ? whole : HUGE_VAL);
}

// By d at every point; or, where b alone is computed, by the most that d can be.
void ScanColumns::bound_edges() {
    const Network& network = request_.network;
    const std::vector<Quantity>& asked = request_.quantities;
    points_.edges = request_.edges.known && std::any_of(asked.begin(), asked.end(), needs_mean);
    if (!points_.edges) {
        return;
    }
    const Number width = of_point(PointNumber::width, 0.0), samples = of_point(PointNumber::samples, 0.0);
    const auto from = [&](const Network& wide, double n) {
        Settings at = request_.settings;
        at.samples = n;
        const auto node = [&](int i) -> const Node& { return wide.nodes[i]; };
        const int count = static_cast<int>(wide.nodes.size());
        const double all = parameters(node, count, at.biases);
        return outlier_from(node, count, at, request_.edges, wide.outputs(), all);
    };
    const auto at_width = [&](double units) { return width.plane != nullptr ? network.widened(units) : network; };
    if (!diagonal_) {
        const std::vector<Group> layers = groups();
        const Number length = of_point(PointNumber::length, request_.settings.length);
        const Number weights = of_node(layers[0].affine, 0), next = of_node(layers[1].affine, 0);
        const bool same = weights.plane != nullptr && weights.plane == next.plane;
        std::atomic<bool> some{false};
        points_.outlier_from =
            derived({width, length, same ? Number{nullptr, 1.0} : weights, same ? Number{nullptr, 1.0} : next}, 1,
                    [&](const double* in, double* out) {
                        const Network wide = at_width(in[0]);
                        const double most = most_of_a(wide, in[1], in[3] / in[2]);
                        out[0] = from(wide, 0.0) * (most - 1.0) < 0.999 ? 0.0 : 1.0; // roundings are far below
                        some = some || out[0] > 0.0;
                    })[0];
        points_.edges = some;
        diagonal_ = request_.sharp && some;
    }
    if (diagonal_) {
        points_.outlier_from =
            derived({width, {samples.plane, request_.settings.samples}}, 1,
                    [&](const double* in, double* out) { out[0] = from(at_width(in[0]), in[1]); })[0];
        points_.edges = points_.outlier_from.place >= 0 || points_.outlier_from.value > 0.0;
    }
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
    return graph_ || std::any_of(slot.places.begin(), slot.places.end(), [&](const Place& place) {
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
    ahead.edges = false;
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
