// SPDX-License-Identifier: BSD-3-Clause
#include "fisher.hpp"

#include <algorithm>
#include <utility>

#include "convolution.hpp"

namespace fisherfield {

namespace {

// What is left to the dense recursion: its blocks from `first` on and the state that feeds them.
struct Front {
    Status status = Status::ok;
    int first = 0; // also the number of convolutions passed
    ActivationState<Scaled> h;
};

ActivationState<Scaled> flattened(const Preactivation<Scaled>& mean) {
    return {mean.xy, mean.v, mean.xy, mean.v, mean.o, mean.d};
}

// Runs the convolutional stages; with only >= 0, gradients of that affine layer alone enter the tangent kernel.
Front image_front(const DescribedNetwork& network, const Settings& settings, int only, std::vector<Row>* rows) {
    ImageState state = image_input(network.size, settings);
    Front front;
    for (const Stage& stage : network.stages) {
        switch (stage.kind) {
        case Stage::Kind::conv2d: {
            const Block& block = network.blocks[front.first];
            const bool own = only < 0 || only == front.first;
            const Preactivation<Scaled> before = state.diagonal();
            state = convolve(block, stage.windows, std::move(state), settings.biases, own);
            if (rows != nullptr) {
                rows->push_back({block.fan_in, before.xy, before.v, state.diagonal()});
            }
            ++front.first;
            front.status = activate(block, &state, settings, own);
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

auto layers_of(const DescribedNetwork& network) {
    return [&network](int l) -> const Block& { return network.blocks[l]; };
}

// wei2019 sees a convolution as a dense layer of its fan_in (docs/theory.md, section 5).
Front front_of(const DescribedNetwork& network, const Settings& settings, std::vector<Row>* rows) {
    if (convolutions(network, settings.theory) > 0) {
        return image_front(network, settings, -1, rows);
    }
    return {Status::ok, 0, input_state<Scaled>(settings.overlap, settings.length)};
}

} // namespace

int convolutions(const DescribedNetwork& network, Theory theory) {
    if (theory == Theory::wei2019) {
        return 0;
    }
    return static_cast<int>(std::count_if(network.stages.begin(), network.stages.end(),
                                          [](const Stage& stage) { return stage.kind == Stage::Kind::conv2d; }));
}

Outcome<Scaled> output_kernel(const DescribedNetwork& network, const Settings& settings, std::vector<Row>* rows,
                              Pass* pass) {
    const int count = static_cast<int>(network.blocks.size());
    const bool again = pass != nullptr && pass->first > 0 && pass->first >= convolutions(network, settings.theory);
    if (rows != nullptr) {
        rows->resize(again ? pass->first : 0);
    }
    const Front front =
        again ? Front{Status::ok, pass->first, pass->feeding[pass->first]} : front_of(network, settings, rows);
    if (front.status != Status::ok) {
        return {front.status, front.first, {}};
    }
    if (pass != nullptr) {
        pass->feeding.resize(count + 1);
    }
    return forward(layers_of(network), front.first, count, front.h, settings,
                   [&](int l, const ActivationState<Scaled>& h, const Preactivation<Scaled>& z, const auto& step) {
                       if (rows != nullptr) {
                           rows->push_back({network.blocks[l].fan_in, h.xy, h.v, z});
                       }
                       if (pass != nullptr) {
                           pass->feeding[l] = h;
                           pass->feeding[l + 1] = step.state;
                       }
                   });
}

Outcome<Scaled> contributions(const DescribedNetwork& network, const Settings& settings,
                              std::vector<Source<Scaled>>* parts) {
    const int count = static_cast<int>(network.blocks.size());
    parts->assign(count, {});
    const Front front = front_of(network, settings, nullptr);
    if (front.status != Status::ok) {
        return {front.status, front.first, {}};
    }
    struct Passed {
        Source<Scaled> own, trained;
        Transfer<Scaled> transfer;
    };
    std::vector<Passed> passed(count);
    const Outcome<Scaled> out =
        forward(layers_of(network), front.first, count, front.h, settings,
                [&](int l, const ActivationState<Scaled>& h, const Preactivation<Scaled>&, const Step<Scaled>& step) {
                    passed[l] = {own_gradients(network.blocks[l], h, settings.biases), step.trained, step.transfer};
                });
    if (out.status != Status::ok) {
        return out;
    }
    // Two worths go back together: of what reaches o, and of what reaches d.
    Worth to_o{1.0, 0.0}, to_d{0.0, 1.0};
    const auto worth = [&](const Source<Scaled>& source) {
        return Source<Scaled>{to_o.o * source.o + to_o.d * source.d, to_d.o * source.o + to_d.d * source.d};
    };
    for (int l = count - 1; l >= front.first; --l) {
        const bool linear = l == count - 1 && !network.blocks[l].batch_norm;
        const Source<Scaled> trained = worth(passed[l].trained);
        if (!linear) {
            to_o = backward(passed[l].transfer, to_o);
            to_d = backward(passed[l].transfer, to_d);
        }
        const Source<Scaled> own = worth(passed[l].own);
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
