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
        throw std::invalid_argument(refused("room for sums of branches within branches so deep"));
    }
    job.count = static_cast<int>(nodes.size());
    job.layers = view.layers;
    job.normalised = view.normalised();
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
    const LayerRow& row = row_of(node.kind);
    ColumnOrValue shift;
    for (int k = 0; k < kLayerNumbers; ++k) {
        const ColumnOrValue at = number(slot_of(request_.slots, place, k), node.numbers[k]);
        nodes[place].numbers[k] = at.column < 0 ? at.value : node.numbers[k];
        varied.push_back(at.column);
        shifts_ = k == row.place_of("beta") ? ever_nonzero(at) : shifts_;
    }
    const Activation& phi = activations[node.activation];
    if (node.kind == LayerKind::affine) {
        shifts_ = false;
    }
    if (node.kind != LayerKind::phi && node.kind != LayerKind::wei2019) {
        return;
    }
    if (phi.kind == Kind::callable) {
        throw std::invalid_argument(refused("way to call a Python function as an activation"));
    }
    const Integrals wanted = needed(phi, shifts_);
    if (wanted == Integrals::all) {
        const bool by_shift = shifts_ && needed(phi, false) != Integrals::all;
        throw std::invalid_argument(refused(std::string("integrals of ") +
                                            kActivationNames[static_cast<int>(phi.kind)] +
                                            (by_shift ? " with beta other than 0" : "")));
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

bool Plan::ever_nonzero(const ColumnOrValue& number) const {
    if (number.column < 0) {
        return number.value != 0.0;
    }
    const Plane& plane = *columns[number.column].plane;
    bool some = false;
    walk(plane.extents(request_.shape), plane.strides, 0, [&](long from) {
        some = plane.data[from] != 0.0;
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
