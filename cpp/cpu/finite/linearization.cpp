// SPDX-License-Identifier: BSD-3-Clause
#include "linearization.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "failure.hpp"
#include "norms.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
void add_numbers(const T* from, long rows, long columns, T* to) {
    RowBlocks{rows}([&](long, long first, long last) {
        for (long i = first * columns; i < last * columns; ++i) {
            to[i] += from[i];
        }
    });
}

} // namespace

// -------------------------------------------------------------------------------------------------------------- nodes
template <class T>
void Linearization<T>::add(std::unique_ptr<Map<T>> map, std::vector<int> inputs) {
    int rounding = 0;
    for (const int from : inputs) {
        rounding = std::max(rounding, from == kInput ? 0 : nodes_[from].rounding);
    }
    const int before = inputs.front();
    const bool shares = map->in_place() && before != kInput && nodes_[before].map->in_place() && !nodes_[before].shares;
    const int stream = shares ? nodes_[before].stream : streams_++;
    rounding += map->rounds() ? 1 : 0;
    nodes_.push_back({std::move(map), std::move(inputs), shares, stream, rounding});
}

// Whether it reads one layer, which nobody else reads.
template <class T>
bool Linearization<T>::alone(const Node& node) const {
    return node.inputs.size() == 1 && readers_[node.inputs[0] + 1] == 1;
}

// What follows from the layers together.
template <class T>
void Linearization<T>::settle() {
    readers_.assign(nodes_.size() + 1, 0);
    first_ = size();
    for (int node = 0; node < size(); ++node) {
        for (const int from : nodes_[node].inputs) {
            ++readers_[from + 1];
        }
        if (nodes_[node].map->parameters() > 0) {
            first_ = std::min(first_, node);
        }
        if (nodes_[node].map->has_weights()) {
            last_ = node;
        }
    }
    for (Node& node : nodes_) {
        if (alone(node) && node.inputs[0] != kInput) {
            node.map->stands_behind(*nodes_[node.inputs[0]].map, node.rounding <= 1);
        }
    }
    removable_ = Means::none;
    absorbed_ = false;
    for (int node = std::min(first_, size() - 1); node >= 0; --node) {
        removable_ = alone(nodes_[node]) ? nodes_[node].map->removable(removable_) : Means::none;
        absorbed_ = absorbed_ || (node < first_ && nodes_[node].map->absorbs_means());
    }
}

template <class T>
long Linearization<T>::parameters() const {
    long count = 0;
    for (const Node& node : nodes_) {
        count += node.map->parameters();
    }
    return count;
}

template <class T>
bool Linearization<T>::coupled() const {
    return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.map->coupled(); });
}

// ------------------------------------------------------------------------------------------------------- forward pass
// The inputs' means that a layer behind the first affine one takes away: over the samples, and for convolutions over
// the positions, too. Taken off in the inputs' own precision, an offset costs those of float64 no digit of float32.
template <class T>
template <class X>
Buffer<T> Linearization<T>::inputs(const X* x, bool centred) const {
    const long samples = samples_, units = input_.units();
    const int channels = input_.channels, positions = static_cast<int>(units / channels);
    Buffer<T> activations = numbers<T>(samples * units);
    if (!centred) {
        transpose(x, samples, channels, positions, activations.get());
        return activations;
    }
    std::vector<double> means = column_sums(x, samples, static_cast<int>(units));
    for (int c = 0; removable_ == Means::channels && c < channels; ++c) {
        double* of_channel = means.data() + static_cast<long>(c) * positions;
        double sum = 0.0;
        for (int p = 0; p < positions; ++p) {
            sum += of_channel[p];
        }
        std::fill_n(of_channel, positions, sum / positions);
    }
    parallel_for(samples, [&](long sample) {
        for (int c = 0; c < channels; ++c) {
            for (int p = 0; p < positions; ++p) {
                const long unit = static_cast<long>(c) * positions + p;
                const double mean = means[unit] / static_cast<double>(samples);
                activations[sample * units + static_cast<long>(p) * channels + c] =
                    static_cast<T>(x[sample * units + unit] - mean);
            }
        }
    });
    return activations;
}

// In the place of a value that nobody reads any more, if there is one.
template <class T>
Buffer<T> Linearization<T>::sum_of_inputs(const Node& node, std::vector<Buffer<T>>& values,
                                          std::vector<int>& readers) const {
    Buffer<T> sum;
    for (const int from : node.inputs) {
        Buffer<T>& value = values[from + 1];
        const long units = shape(from).units();
        const bool read_again = --readers[from + 1] > 0;
        if (sum) {
            add_numbers(value.get(), samples_, units, sum.get());
        } else if (read_again) {
            sum = numbers<T>(samples_ * units);
            copy_rows(value.get(), samples_, static_cast<int>(units), sum.get());
        } else {
            sum = std::move(value);
        }
        if (!read_again) {
            value.reset();
        }
    }
    return sum;
}

// What the first `count` nodes make of the inputs.
template <class T>
Buffer<T> Linearization<T>::run(Buffer<T> inputs, int count, Pass pass) {
    std::vector<Buffer<T>> values(count + 1);
    std::vector<int> readers = readers_;
    values[0] = std::move(inputs);
    const std::uint64_t seed = pass.seed * 1000003 + 1;
    for (int node = 0; node < count; ++node) {
        Map<T>& map = *nodes_[node].map;
        map.samples = pass.samples;
        pass.seed = seed + nodes_[node].stream;
        try {
            values[node + 1] = map.forward(sum_of_inputs(nodes_[node], values, readers), pass);
        } catch (const ZeroVariance& failure) {
            throw Failure(Status::zero_variance, node, failure.unit);
        }
    }
    return std::move(values[count]);
}

template <class T>
template <class X>
void Linearization<T>::forward(const X* x, const Pass& pass, T* outputs) {
    settle();
    samples_ = pass.samples;
    // an affine layer that reads the input takes means off by itself
    const bool centred =
        removable_ != Means::none && (sizeof(X) > sizeof(T) || first_ > 0 || !nodes_[first_].map->has_weights());
    Buffer<T> activations = inputs(x, centred);
    if (pass.noise > 0.0 && !centred) { // what is lost of inputs of a higher precision
        const Noise random = pass.random();
        const long units = samples_ * input_.units();
        const double unit = pass.noise_unit<T>();
        const bool exact = std::all_of(x, x + units, [](X value) { return static_cast<T>(value) == value; });
        for (long i = 0; !exact && i < units; ++i) {
            activations[i] += static_cast<T>(unit * activations[i] * random(i));
        }
    }
    activations = run(std::move(activations), size(), pass);
    copy_rows(activations.get(), samples_, this->outputs(), outputs);
    if (centred && !absorbed_ && pass.keep && nodes_[first_].map->keeps_whole_inputs()) {
        Pass again = pass;
        again.keep = false;
        nodes_[first_].map->keep_inputs(run(inputs(x, false), first_, again));
    }
    long largest = 0;
    for (const Node& node : nodes_) {
        largest = std::max(largest, node.map->out.units());
    }
    room_.resize(samples_ * largest);
    codes_.clear();
    codes_.resize(nodes_.size());
}

// ---------------------------------------------------------------------------------------------------------- operators
template <class T>
void Linearization<T>::prepare(double products, std::size_t bytes) {
    // The layers in which a matrix saves most come last, as often as not; whichever fits is taken.
    for (const Node& node : nodes_) {
        node.map->prepare(products, &bytes);
    }
}

// With the parameters of nodes before `first` left out.
template <class T>
typename Linearization<T>::Reached Linearization<T>::reached(int first) const {
    Reached result(nodes_.size() + 1, false);
    for (int node = first; node < size(); ++node) {
        result[node + 1] = nodes_[node].map->parameters() > 0 || reads(nodes_[node], result);
    }
    return result;
}

template <class T>
bool Linearization<T>::reads(const Node& node, const Reached& reached) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](int from) { return reached[from + 1]; });
}

// Deltas at the outputs, `copies` batches of them, back to whatever is reached. pull(node, deltas, result) does a
// node's part; there is no result where nothing before it is reached.
template <class T>
template <class Pull>
void Linearization<T>::carry_back(const T* deltas, long copies, const Reached& reached, Room<T>& room,
                                  const Pull& pull) const {
    std::vector<T*> sums(nodes_.size()); // of what those who read a node have given back
    for (int node = size() - 1; node >= 0; --node) {
        if (!reached[node + 1]) {
            continue;
        }
        const T* here = node + 1 < size() ? sums[node] : deltas;
        T* result = reads(nodes_[node], reached) ? room.take() : nullptr;
        pull(node, here, result);
        room.give(here);
        bool kept = false;
        for (const int from : nodes_[node].inputs) {
            if (!reached[from + 1]) {
                continue;
            }
            const long rows = copies * samples_, units = shape(from).units();
            if (sums[from]) {
                add_numbers(result, rows, units, sums[from]);
            } else if (kept) {
                sums[from] = room.take();
                copy_rows(result, rows, static_cast<int>(units), sums[from]);
            } else {
                sums[from] = result;
                kept = true;
            }
        }
        if (!kept) {
            room.give(result);
        }
    }
}

template <class T>
void Linearization<T>::backwards(const T* w, bool direct, const Reached& reached) {
    carry_back(w, 1, reached, room_, [&](int node, const T* deltas, T* result) {
        std::vector<T>& code = codes_[node];
        code.resize(nodes_[node].map->code_size(direct));
        nodes_[node].map->pull(deltas, result, code.empty() ? nullptr : code.data(), direct);
    });
}

// What the inputs change by: one input's own buffer, or one of the room's for the sum of several; null where none is
// reached.
template <class T>
T* Linearization<T>::sum_of_changes(const Node& node, const std::vector<T*>& changes, const Reached& reached) {
    T *sum = nullptr, *own = nullptr;
    for (const int from : node.inputs) {
        if (!reached[from + 1]) {
            continue;
        }
        const long units = shape(from).units();
        if (!sum) {
            sum = changes[from];
            continue;
        }
        if (!own) {
            own = room_.take();
            copy_rows(sum, samples_, static_cast<int>(units), own);
            sum = own;
        }
        add_numbers(changes[from], samples_, units, sum);
    }
    return sum;
}

template <class T>
void Linearization<T>::forwards(T* result, bool direct, const Reached& reached) {
    std::vector<T*> changes(nodes_.size());
    std::vector<int> readers = readers_;
    if (!reached[nodes_.size()]) { // nothing has parameters
        fill_rows<T>(result, samples_, outputs(), nullptr);
    }
    for (int place = 0; place < size(); ++place) {
        if (!reached[place + 1]) {
            continue;
        }
        const Node& node = nodes_[place];
        T* sum = sum_of_changes(node, changes, reached);
        changes[place] = place + 1 < size() ? room_.take() : result;
        node.map->push(sum, changes[place], codes_[place].empty() ? nullptr : codes_[place].data(), direct);
        bool own = true;
        for (const int from : node.inputs) {
            if (reached[from + 1]) {
                own = own && sum != changes[from];
                if (--readers[from + 1] == 0) {
                    room_.give(changes[from]);
                }
            }
        }
        if (own) {
            room_.give(sum);
        }
    }
}

template <class T>
void Linearization<T>::pull(const T* w, T* v) {
    backwards(w, true, reached(first_));
    for (int node = first_; node < size(); ++node) {
        nodes_[node].map->to_pytorch(codes_[node].data(), v);
        v += nodes_[node].map->parameters();
    }
}

template <class T>
void Linearization<T>::push(const T* v, T* w) {
    for (int node = first_; node < size(); ++node) {
        codes_[node].resize(nodes_[node].map->parameters());
        nodes_[node].map->from_pytorch(v, codes_[node].data());
        v += nodes_[node].map->parameters();
    }
    forwards(w, true, reached(first_));
}

template <class T>
void Linearization<T>::product(const T* w, T* result) {
    const Reached all = reached(first_);
    backwards(w, false, all);
    forwards(result, false, all);
}

template <class T>
void Linearization<T>::product_of_last(const T* w, T* result) {
    const Reached behind = reached(last_);
    backwards(w, false, behind);
    forwards(result, false, behind);
}

template <class T>
void Linearization<T>::gram(T* result) {
    const long n = samples_, count = outputs(), all = n * count;
    fill_rows<T>(result, all, static_cast<int>(all), nullptr);
    // deltas of one output after the other
    long units = count;
    for (int node = first_; node < size(); ++node) {
        units = std::max(units, nodes_[node].map->out.units());
    }
    Room<T> room;
    room.resize(all * units);
    T* deltas = room.take();
    fill_rows<T>(deltas, all, static_cast<int>(count), nullptr);
    for (long row = 0; row < all; ++row) {
        deltas[row * count + row / n] = T(1);
    }
    carry_back(deltas, count, reached(first_), room, [&](int node, const T* here, T* before) {
        Map<T>& map = *nodes_[node].map;
        map.add_gram(here, static_cast<int>(count), result);
        for (long k = 0; before && k < count; ++k) {
            map.pull(here + k * n * map.out.units(), before + k * n * map.in.units(), nullptr, true);
        }
    });
    mirror(result, all);
}

// ------------------------------------------------------------------------------------------------------------- counts
template <class T>
double Linearization<T>::forward_flops() const {
    double sum = 0.0;
    for (const Node& node : nodes_) {
        sum += node.map->forward_flops(static_cast<double>(samples_));
    }
    return sum;
}

template <class T>
double Linearization<T>::bytes(long samples) const {
    const double n = static_cast<double>(samples);
    double count = 0.0, largest = 0.0;
    for (const Node& node : nodes_) {
        count += node.map->kept(n);
        count += std::max<double>(node.shares ? 0.0 : n * node.map->out.channels, node.map->parameters());
        largest = std::max(largest, n * node.map->out.units());
    }
    return (count + 2.0 * largest) * sizeof(T);
}

template <class T>
double Linearization<T>::product_flops() const {
    const double n = static_cast<double>(samples_);
    const Reached all = reached(first_);
    double sum = 0.0;
    for (int node = first_; node < size(); ++node) {
        sum += nodes_[node].map->own_flops(n);
        sum += reads(nodes_[node], all) ? 2.0 * nodes_[node].map->carry_flops(n) : 0.0;
    }
    return sum;
}

template <class T>
double Linearization<T>::gram_flops() const {
    const double n = static_cast<double>(samples_), count = outputs();
    const Reached all = reached(first_);
    double sum = 0.0;
    for (int node = first_; node < size(); ++node) {
        sum += nodes_[node].map->gram_flops(n, count);
        sum += reads(nodes_[node], all) ? count * nodes_[node].map->carry_flops(n) : 0.0;
    }
    return sum;
}

template class Linearization<float>;
template class Linearization<double>;
template void Linearization<float>::forward(const float*, const Pass&, float*);
template void Linearization<float>::forward(const double*, const Pass&, float*);
template void Linearization<double>::forward(const double*, const Pass&, double*);

} // namespace fisherfield::finite_network
