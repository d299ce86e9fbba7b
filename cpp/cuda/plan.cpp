// SPDX-License-Identifier: BSD-3-Clause
#include "plan.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace fisherfield::cuda {

namespace {

std::string refused(const std::string& what) { return "backend='cuda' has no " + what + ": use backend='cpu'"; }

// The box of `extents` inside that of `shape`, axes that run on as one.
std::vector<Digit> digits_of(const std::vector<long>& shape, const std::vector<long>& extents) {
    std::vector<Digit> out;
    std::int64_t inner = 1, stride = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        if (extents[axis] > 1) {
            if (!out.empty() && out.back().inner * out.back().extent == inner) {
                out.back().extent *= extents[axis];
            } else {
                out.push_back({inner, extents[axis], stride});
            }
            stride *= extents[axis];
        }
        inner *= shape[axis];
    }
    return out;
}

// `count` numbers of a box from the one numbered `first` on.
void copy(const std::vector<long>& shape, const std::vector<long>& strides, std::int64_t first, std::int64_t count,
          const double* data, double* to) {
    if (count > 0) {
        walk(shape, strides, static_cast<long>(first), [&](long from) {
            *to++ = data[from];
            return --count > 0;
        });
    }
}

} // namespace

Plan::Plan(const ScanRequest& request, std::int64_t most) : request_(request) {
    const Network& network = request.network;
    const Settings& settings = request.settings;
    if (network.positional() > 0) {
        throw std::invalid_argument(refused("convolutions position by position, only wei2019's view of them"));
    }
    for (const Quantity which : request.quantities) {
        if (which >= Quantity::part_a) {
            throw std::invalid_argument(refused(kQuantityNames[static_cast<int>(which)]));
        }
    }
    for (const Slot& slot : request.slots) {
        if (slot.scales()) {
            throw std::invalid_argument(refused("axis gamma_scale"));
        }
    }
    points_ = points_of(request.shape);
    const auto of_point = [&](fisherfield::PointNumber point, double otherwise) {
        return number(slot_of(request.slots, point), otherwise);
    };
    using enum fisherfield::PointNumber;
    job.width = of_point(width, 0.0);
    job.samples = of_point(samples, settings.samples);
    job.overlap = of_point(overlap, settings.overlap);
    job.length = of_point(length, settings.length);
    job.momentum = of_point(momentum, request.descent.momentum);

    const bool one_width = job.width.column < 0 && slot_of(request.slots, width) != nullptr;
    const Network view = one_width ? network.widened(job.width.value) : network;
    nodes = view.nodes;
    activations = view.activations;
    for (int i = 0; i < static_cast<int>(nodes.size()); ++i) {
        add(nodes[i], i);
    }
    const auto node = [&](int i) -> const Node& { return nodes[i]; };
    if (view.slots > kSlots) {
        throw std::invalid_argument(refused("room for more than " + std::to_string(kSlots) +
                                            " layers' states at a time, and sums within sums ask for " +
                                            std::to_string(view.slots)));
    }
    job.count = static_cast<int>(nodes.size());
    job.layers = view.layers;
    job.normalised = view.normalised();
    job.edges = request.edges;
    job.point = {settings, request.descent, request.loss, view.outputs(), parameters(node, job.count, settings.biases)};

    asked = request.quantities;
    job.many = static_cast<int>(asked.size());
    job.varying = static_cast<int>(columns.size());
    for (const Quantity which : asked) {
        numbers_ += of_layers(which) ? job.layers : 1;
    }
    const std::int64_t bytes = static_cast<std::int64_t>(sizeof(double)) * (2 * job.varying + numbers_) + 1;
    job.capacity = std::min({std::max(kPieceBytes / bytes, kLeastPoints), most, std::max<std::int64_t>(points_, 1)});
    std::int64_t offset = 0;
    for (const Quantity which : asked) {
        offsets.push_back(offset);
        offset += job.capacity * (of_layers(which) ? job.layers : 1);
    }
}

void Plan::add(const Node& node, int place) {
    ColumnOrValue own[kLayerNumbers];
    for (int k = 0; k < kLayerNumbers; ++k) {
        own[k] = number(slot_of(request_.slots, place, k), node.numbers[k]);
        nodes[place].numbers[k] = own[k].column < 0 ? own[k].value : node.numbers[k];
        varied.push_back(own[k].column);
    }
    units_.push_back(left_by(node, own));
    if (node.kind == LayerKind::phi || node.kind == LayerKind::wei2019) { // the latter reads its own beta
        hold(activations[node.activation], node.kind == LayerKind::phi ? units_at(node.input) : units_.back());
    }
}

Plan::Units Plan::left_by(const Node& node, const ColumnOrValue* own) const {
    if (node.kind == LayerKind::affine) {
        return {false, true, false};
    }
    Units out = units_at(node.input);
    if (node.other != kNone) {
        const Units other = units_at(node.other);
        const bool met = (out.shifted && other.dependent) || (out.dependent && other.shifted);
        out = {out.shifted || other.shifted, out.dependent || other.dependent, out.both || other.both || met};
    }
    const LayerRow& row = row_of(node.kind);
    const int beta = row.place_of("beta"), eps = row.place_of("eps");
    if (beta < 0) {
        return out;
    }
    const auto zero = [](double x) { return x == 0.0; };
    out.shifted = ever(own[beta], [](double x) { return x != 0.0; });
    if (!row.normalises) {
        out.both = out.shifted && out.dependent;
        return out;
    }
    const bool closed = node.homogeneous && request_.settings.theory == Theory::exact && ever(own[beta], zero) &&
                        ever(own[eps], zero) && ever(job.samples, [](double n) { return n >= 4.0; });
    return {out.shifted, closed, false}; // the closed form has no mean
}

Plan::Units Plan::units_at(int input) const { return input < 0 ? Units{} : units_[input]; }

void Plan::hold(const Activation& phi, const Units& units) {
    if (phi.kind == Kind::callable) {
        throw std::invalid_argument(refused("way to call a Python function as an activation"));
    }
    const Integrals wanted = needed(phi, units.shifted, units.both);
    if (wanted == Integrals::all) {
        std::string what = std::string("integrals of ") + kActivationNames[static_cast<int>(phi.kind)];
        if (needed(phi, false, false) != Integrals::all) {
            what += " with beta other than 0";
            what += needed(phi, true, false) != Integrals::all ? " where units at two inputs depend on each other" : "";
        }
        throw std::invalid_argument(refused(what));
    }
    held = std::max(held, wanted);
}

ColumnOrValue Plan::number(const Slot* slot, double otherwise) {
    if (slot == nullptr || points_ == 0) {
        return {otherwise, -1};
    }
    const Plane* const plane = &slot->plane;
    const std::vector<long> box = plane->extents(request_.shape);
    const std::int64_t total = points_of(box);
    if (total == 1) {
        return {plane->data[0], -1};
    }
    const auto at =
        std::find_if(columns.begin(), columns.end(), [&](const Values& values) { return values.plane == plane; });
    const int place = static_cast<int>(at - columns.begin());
    if (at == columns.end()) {
        columns.push_back({plane, {}, {}});
        if (total <= kWhole) {
            columns.back().digits = digits_of(request_.shape, box);
            columns.back().data.resize(total);
            copy(box, plane->strides, 0, total, plane->data, columns.back().data.data());
        }
    }
    return {0.0, place};
}

bool Plan::ever(const ColumnOrValue& number, bool (*is)(double)) const {
    if (number.column < 0) {
        return is(number.value);
    }
    const Plane& plane = *columns[number.column].plane;
    bool some = false;
    walk(plane.extents(request_.shape), plane.strides, 0, [&](long from) {
        some = is(plane.data[from]);
        return !some;
    });
    return some;
}

void Plan::gather(const Values& values, std::int64_t first, std::int64_t count, double* to) const {
    copy(request_.shape, values.plane->strides, first, count, values.plane->data, to);
}

void Plan::scatter(const Job& piece, const std::vector<double*>& out, std::int8_t* status) const {
    for (std::size_t i = 0; i < asked.size(); ++i) {
        const std::int64_t each = of_layers(asked[i]) ? job.layers : 1;
        std::copy_n(piece.out + offsets[i], piece.points * each, out[i] + piece.first * each);
    }
    std::copy_n(piece.status, piece.points, status + piece.first);
}

} // namespace fisherfield::cuda
