// SPDX-License-Identifier: BSD-3-Clause
#include "fisher.hpp"

#include <utility>

#include "convolution.hpp"

namespace fisherfield {

namespace {

// What is left to the dense recursion: its blocks from `first` on and the state that feeds them.
struct Front {
    Status status = Status::ok;
    int first = 0; // also the number of convolutions passed
    ActivationState h;
};

ActivationState flattened(const Preactivation& mean) { return {mean.xy, mean.v, mean.xy, mean.v, mean.o, mean.d}; }

// Runs the convolutional stages; with only >= 0, gradients of that affine layer alone enter the tangent kernel.
Front image_front(const DescribedNetwork& network, const Settings& settings, int only, std::vector<Row>* rows) {
    ImageState state = image_input(network.size, settings);
    Front front;
    for (const Stage& stage : network.stages) {
        switch (stage.kind) {
        case Stage::Kind::conv2d: {
            const bool own = only < 0 || only == front.first;
            const Preactivation before = state.diagonal();
            state = convolve(stage, std::move(state), settings.biases, own);
            if (rows != nullptr) {
                rows->push_back({stage.block.fan_in, before.xy, before.v, state.diagonal()});
            }
            ++front.first;
            front.status = activate(stage.block, &state, settings, own);
            if (front.status != Status::ok) {
                return front;
            }
            break;
        }
        case Stage::Kind::average_pool:
            state = average_pool(stage.windows, std::move(state));
            break;
        case Stage::Kind::flatten:
            front.h = flattened(state.diagonal());
            return front;
        case Stage::Kind::dense:
            break;
        }
    }
    front.h = flattened(state.diagonal());
    return front;
}

// wei2019 sees a convolution as a dense layer of its fan_in (docs/theory.md, section 5).
Front front_of(const DescribedNetwork& network, const Settings& settings, std::vector<Row>* rows) {
    if (network.image && settings.theory != Theory::wei2019) {
        return image_front(network, settings, -1, rows);
    }
    return {Status::ok, 0, input_state(settings)};
}

} // namespace

Outcome output_kernel(const DescribedNetwork& network, const Settings& settings, std::vector<Row>* rows) {
    const Front front = front_of(network, settings, rows);
    if (front.status != Status::ok) {
        return {front.status, front.first, {}};
    }
    const int count = static_cast<int>(network.blocks.size());
    return forward(network.blocks.data(), front.first, count, front.h, settings,
                   [&](int l, const ActivationState& h, const Preactivation& z, const Step&) {
                       if (rows != nullptr) {
                           rows->push_back({network.blocks[l].fan_in, h.xy, h.v, z});
                       }
                   });
}

Outcome contributions(const DescribedNetwork& network, const Settings& settings, std::vector<Source>* parts) {
    const int count = static_cast<int>(network.blocks.size());
    parts->assign(count, {});
    const Front front = front_of(network, settings, nullptr);
    if (front.status != Status::ok) {
        return {front.status, front.first, {}};
    }
    struct Passed {
        Source own, trained;
        Transfer transfer;
    };
    std::vector<Passed> passed(count);
    const Outcome out =
        forward(network.blocks.data(), front.first, count, front.h, settings,
                [&](int l, const ActivationState& h, const Preactivation&, const Step& step) {
                    passed[l] = {own_gradients(network.blocks[l], h, settings.biases), step.trained, step.transfer};
                });
    if (out.status != Status::ok) {
        return out;
    }
    // Two worths go back together: of what reaches o, and of what reaches d.
    Worth to_o{1.0, 0.0}, to_d{0.0, 1.0};
    const auto worth = [&](const Source& source) {
        return Source{to_o.o * source.o + to_o.d * source.d, to_d.o * source.o + to_d.d * source.d};
    };
    for (int l = count - 1; l >= front.first; --l) {
        const bool linear = l == count - 1 && !network.blocks[l].batch_norm;
        const Source trained = worth(passed[l].trained);
        if (!linear) {
            to_o = backward(passed[l].transfer, to_o);
            to_d = backward(passed[l].transfer, to_d);
        }
        const Source own = worth(passed[l].own);
        (*parts)[l] = {own.o + trained.o, own.d + trained.d};
        const Scaled w(network.blocks[l].sigma_w2);
        to_o = {w * to_o.o, w * to_o.d};
        to_d = {w * to_d.o, w * to_d.d};
    }
    // Convolutions: one pass each, so that no more than a few matrices are ever held.
    for (int l = 0; l < front.first; ++l) {
        const Front alone = image_front(network, settings, l, nullptr);
        (*parts)[l] = worth({alone.h.o, alone.h.d});
    }
    return out;
}

} // namespace fisherfield
