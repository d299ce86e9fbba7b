// SPDX-License-Identifier: BSD-3-Clause
#include "plan.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "fisher.hpp"

namespace fisherfield::cuda {

namespace {

std::string refused(const std::string& what) { return "backend='cuda' has no " + what + ": use backend='cpu'"; }

// Visits the numbers of a box at `strides`, in C order, from the one numbered `first` on.
template <class Visit>
void walk(const std::vector<long>& shape, const std::vector<long>& strides, std::int64_t first, std::int64_t count,
          Visit&& visit) {
    const std::size_t axes = shape.size();
    std::vector<long> index(axes);
    long place = 0;
    for (std::size_t axis = axes; axis-- > 0; first /= shape[axis]) {
        index[axis] = static_cast<long>(first % shape[axis]);
        place += strides[axis] * index[axis];
    }
    for (std::int64_t i = 0; i < count; ++i) {
        visit(place);
        for (std::size_t axis = axes; axis-- > 0;) {
            place += strides[axis];
            if (++index[axis] < shape[axis]) {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

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

} // namespace

Plan::Plan(const ScanRequest& request, std::int64_t most) : request_(request) {
    const DescribedNetwork& network = request.network;
    const Settings& settings = request.settings;
    if (convolutions(network, settings.theory) > 0) {
        throw std::invalid_argument(refused("convolutions position by position, only wei2019's view of them"));
    }
    for (const Quantity which : request.quantities) {
        if (which >= Quantity::part_a) {
            throw std::invalid_argument(refused(kQuantityNames[static_cast<int>(which)]));
        }
    }
    for (const long extent : request.shape) {
        points_ *= extent;
    }
    job.count = static_cast<int>(network.blocks.size());
    job.width = parameter(Field::width, -1, 0.0);
    job.samples = parameter(Field::samples, -1, settings.samples);
    job.overlap = parameter(Field::overlap, -1, settings.overlap);
    job.length = parameter(Field::length, -1, settings.length);
    job.momentum = parameter(Field::momentum, -1, request.descent.momentum);

    std::vector<Block> blocks = network.blocks;
    if (job.width.column < 0 && slot(Field::width, -1) != nullptr) { // one width everywhere
        widen(job.width.value, blocks.data(), job.count);
    }
    for (int l = 0; l < job.count; ++l) {
        add(blocks[l], l, l + 1 == job.count);
        layers.back().taps = l > 0 ? blocks[l].fan_in / blocks[l - 1].units : 0.0;
    }
    const auto layer = [&](int l) -> const Block& { return blocks[l]; };
    job.point = {settings, request.descent, request.loss, network.outputs,
                 parameters(layer, job.count, settings.biases)};

    asked = request.quantities;
    job.many = static_cast<int>(asked.size());
    job.varying = static_cast<int>(columns.size());
    for (const Quantity which : asked) {
        numbers_ += of_layers(which) ? job.count : 1;
    }
    const std::int64_t bytes = static_cast<std::int64_t>(sizeof(double)) * (2 * job.varying + numbers_) + 1;
    job.capacity = std::min({std::max(kPieceBytes / bytes, kLeastPoints), most, std::max<std::int64_t>(points_, 1)});
    std::int64_t offset = 0;
    for (const Quantity which : asked) {
        offsets.push_back(offset);
        offset += job.capacity * (of_layers(which) ? job.count : 1);
    }
}

void Plan::add(const Block& block, int l, bool last) {
    Layer layer;
    layer.sigma_w2 = parameter(Field::sigma_w2, l, block.sigma_w2);
    layer.sigma_b2 = parameter(Field::sigma_b2, l, block.sigma_b2);
    layer.fan_in = block.fan_in;
    layer.units = block.units;
    layer.hidden = !last;
    if (block.batch_norm) {
        layer.gamma = parameter(Field::gamma, l, block.gamma);
        layer.beta = parameter(Field::beta, l, block.beta);
        layer.eps = parameter(Field::eps, l, block.eps);
    }
    layer.batch_norm = block.batch_norm;
    layer.trained = block.trained;
    job.batch_norm = job.batch_norm || block.batch_norm;
    if (block.batch_norm || !last) {
        const Activation& phi = block.activation;
        if (phi.kind == Kind::callable) {
            throw std::invalid_argument(refused("way to call a Python function as an activation"));
        }
        const bool shifted = ever_nonzero(layer.beta);
        const Integrals wanted = needed(phi, shifted);
        if (wanted == Integrals::all) {
            const bool by_shift = shifted && needed(phi, false) != Integrals::all;
            throw std::invalid_argument(refused(std::string("integrals of ") +
                                                kActivationNames[static_cast<int>(phi.kind)] +
                                                (by_shift ? " with beta other than 0" : "")));
        }
        held = std::max(held, wanted);
        layer.activation = activation(phi);
    } else {
        layer.activation = activation(Activation{});
    }
    layers.push_back(layer);
}

// Each one once: a thousand layers mostly have the same.
int Plan::activation(const Activation& wanted) {
    const auto same = [&](const Activation& one) {
        return one.kind == wanted.kind && one.parameter == wanted.parameter && one.degree == wanted.degree &&
               std::equal(one.coefficients, one.coefficients + kMaxDegree + 1, wanted.coefficients);
    };
    const auto at = std::find_if(activations.begin(), activations.end(), same);
    const int which = static_cast<int>(at - activations.begin());
    if (at == activations.end()) {
        activations.push_back(wanted);
    }
    return which;
}

// The slot that holds for a layer's parameter, or for all layers' (-1): the last one.
const Slot* Plan::slot(Field field, int layer) const {
    const auto at = std::find_if(request_.slots.rbegin(), request_.slots.rend(), [&](const Slot& each) {
        return each.field == field && (each.layer < 0 || each.layer == layer);
    });
    return at == request_.slots.rend() ? nullptr : &*at;
}

Parameter Plan::parameter(Field field, int layer, double otherwise) {
    const Slot* const found = slot(field, layer);
    if (found == nullptr || points_ == 0) {
        return {otherwise, -1};
    }
    const std::vector<long> box = extents(*found);
    std::int64_t total = 1;
    for (const long extent : box) {
        total *= extent;
    }
    if (total == 1) {
        return {found->data[0], -1};
    }
    const auto at =
        std::find_if(columns.begin(), columns.end(), [&](const Values& values) { return values.slot == found; });
    const int place = static_cast<int>(at - columns.begin());
    if (at == columns.end()) {
        columns.push_back({found, {}, {}});
        if (total <= kWhole) {
            columns.back().digits = digits_of(request_.shape, box);
            columns.back().data.reserve(total);
            walk(box, found->strides, 0, total, [&](long from) { columns[place].data.push_back(found->data[from]); });
        }
    }
    return {0.0, place};
}

// The box of the values that a slot tells apart.
std::vector<long> Plan::extents(const Slot& slot) const {
    std::vector<long> out(request_.shape.size());
    for (std::size_t axis = 0; axis < out.size(); ++axis) {
        out[axis] = slot.strides[axis] != 0 ? request_.shape[axis] : 1;
    }
    return out;
}

bool Plan::ever_nonzero(const Parameter& parameter) const {
    if (parameter.column < 0) {
        return parameter.value != 0.0;
    }
    const Slot& slot = *columns[parameter.column].slot;
    const std::vector<long> box = extents(slot);
    std::int64_t total = 1;
    for (const long extent : box) {
        total *= extent;
    }
    bool found = false;
    walk(box, slot.strides, 0, total, [&](long from) { found = found || slot.data[from] != 0.0; });
    return found;
}

void Plan::gather(const Values& values, std::int64_t first, std::int64_t count, double* to) const {
    walk(request_.shape, values.slot->strides, first, count, [&](long from) { *to++ = values.slot->data[from]; });
}

void Plan::scatter(const Job& piece, const std::vector<double*>& out, std::int8_t* status) const {
    for (std::size_t i = 0; i < asked.size(); ++i) {
        const std::int64_t each = of_layers(asked[i]) ? job.count : 1;
        std::copy_n(piece.out + offsets[i], piece.points * each, out[i] + piece.first * each);
    }
    std::copy_n(piece.status, piece.points, status + piece.first);
}

} // namespace fisherfield::cuda
