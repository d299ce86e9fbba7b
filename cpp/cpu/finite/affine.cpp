// SPDX-License-Identifier: BSD-3-Clause
#include "affine.hpp"

#include <algorithm>
#include <cmath>

#include "blas.hpp"
#include "gram.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

template <class T>
std::unique_ptr<Affine<T>> Affine<T>::dense(const Image& image, int units, const AffineParameters<T>& parameters) {
    const Image flat{static_cast<int>(image.units()), {1, 1}};
    const int taps = static_cast<int>(image.positions());
    return std::unique_ptr<Affine>(
        new Affine(flat, Image{units, {1, 1}}, Windows{}, true, 1, image.channels, taps, parameters));
}

template <class T>
std::unique_ptr<Affine<T>> Affine<T>::conv2d(const Image& image, int channels, int groups, const Windows& windows,
                                             const AffineParameters<T>& parameters) {
    const int taps = windows.kernel[0] * windows.kernel[1];
    const bool plain = taps == 1 && windows.stride == Pair{1, 1} && windows.padding == Pair{0, 0};
    return std::unique_ptr<Affine>(new Affine(image, slid(image, windows, channels), windows, plain, groups,
                                              image.channels / groups, taps, parameters));
}

template <class T>
Affine<T>::Affine(const Image& in, const Image& out, const Windows& windows, bool plain, int groups, int channels,
                  int taps, const AffineParameters<T>& parameters)
    : Map<T>(in, out), windows_(windows), plain_(plain), groups_(groups), channels_(channels), taps_(taps),
      trains_biases_(parameters.trains_biases), weights_(numbers<T>(static_cast<std::size_t>(out.channels) * fan_in())),
      biases_(parameters.biases, parameters.biases + out.channels) {
    transpose(parameters.weights, out.channels, channels, taps, weights_.get());
}

template <class T>
Buffer<T> Affine<T>::forward(Buffer<T> activations, const Pass& pass) {
    const std::size_t one = static_cast<std::size_t>(out.positions()) * patch() * sizeof(T);
    chunk_ = std::clamp<long>(static_cast<long>(pass.workspace / one), 1, samples);
    if (!plain_) {
        patches_ = numbers<T>(chunk_ * out.positions() * patch());
    }
    Buffer<T> z = numbers<T>(rows_out() * out.channels);
    if (normed_) {
        centre(activations.get());
    }
    fill_rows(z.get(), rows_out(), out.channels, normed_ ? nullptr : biases_.data());
    apply(activations.get(), weights_.get(), z.get(), centres());
    if (pass.noise > 0.0) {
        disturb(activations.get(), z.get(), pass);
    }
    if (!flows_) {
        restore(activations.get());
    }
    kernel_.reset(); // of inputs that were
    inputs_.reset();
    if (pass.keep) {
        inputs_ = std::move(activations);
    } else {
        patches_.reset();
    }
    return z;
}

template <class T>
void Affine<T>::pull(const T* deltas, T* result, T* code, bool direct) {
    if (code && !direct && kernel_) {
        blas::multiply(false, false, samples, out.channels, samples, kernel_.get(), samples, deltas, out.channels, T(0),
                       code, out.channels);
    } else if (code) {
        gradient(deltas, code);
    }
    if (!result) {
        return;
    }
    if (plain_) {
        back_to_patches(deltas, rows_out(), result);
        return;
    }
    fill_rows<T>(result, rows_in(), in.channels, nullptr);
    for (long first = 0; first < samples; first += chunk_) {
        const long some = std::min(chunk_, samples - first);
        back_to_patches(deltas + first * out.units(), some * out.positions(), patches_.get());
        parallel_for(some, [&](long sample) {
            const T* patches = patches_.get() + sample * out.positions() * patch();
            T* image = result + (first + sample) * in.units();
            const int count = channels_;
            runs([&](long row, long column, long place) {
                for (int c = 0; place >= 0 && c < count; ++c) {
                    image[place + c] += patches[row + column + c];
                }
            });
        });
    }
}

// patches = deltas weights
template <class T>
void Affine<T>::back_to_patches(const T* deltas, long rows, T* patches) const {
    for (int group = 0; group < groups_; ++group) {
        const long first = static_cast<long>(group) * group_size();
        blas::multiply(false, false, rows, fan_in(), group_size(), deltas + first, out.channels,
                       weights_.get() + first * fan_in(), fan_in(), T(0), patches + group * fan_in(), patch());
    }
}

template <class T>
void Affine<T>::push(const T* changes, T* result, const T* code, bool direct) {
    if (code && !direct && kernel_) {
        copy_rows(code, rows_out(), out.channels, result);
    } else if (code) {
        fill_rows(result, rows_out(), out.channels, trains_biases_ ? code + weight_count() : nullptr);
        apply(inputs_.get(), code, result, centres());
    } else {
        fill_rows<T>(result, rows_out(), out.channels, nullptr);
    }
    if (changes) {
        apply(changes, weights_.get(), result, nullptr);
    }
}

template <class T>
void Affine<T>::to_pytorch(const T* code, T* v) const {
    transpose(code, out.channels, taps_, channels_, v);
    std::copy(code + weight_count(), code + parameters(), v + weight_count());
}

template <class T>
void Affine<T>::from_pytorch(const T* v, T* code) const {
    transpose(v, out.channels, channels_, taps_, code);
    std::copy(v + weight_count(), v + parameters(), code + weight_count());
}

// What is the same in all rows of the patches, where a layer behind takes it away: a unit's mean where rows are
// samples, a channel's where no border of zeros tells positions apart.
template <class T>
Means Affine<T>::removable(Means /*behind*/) const {
    if (!normed_) {
        return Means::none;
    }
    return in.positions() == 1 ? Means::units : windows_.padding != Pair{0, 0} ? Means::none : Means::channels;
}

template <class T>
void Affine<T>::prepare(double products, std::size_t* bytes) {
    const double n = static_cast<double>(samples), units = out.channels, inputs = static_cast<double>(fan_in());
    const std::size_t needed = static_cast<std::size_t>(samples) * samples * sizeof(T);
    const bool cheaper = n * n * inputs + products * 2 * n * n * units < products * 4 * n * inputs * units;
    if (kernel_ || !one_patch() || !cheaper || needed > *bytes) {
        return;
    }
    *bytes -= needed;
    kernel_ = numbers<T>(static_cast<std::size_t>(samples) * samples);
    blas::multiply_by_transpose(samples, fan_in(), inputs_.get(), T(0), kernel_.get());
    mirror(kernel_.get(), samples);
    if (trains_biases_) {
        parallel_for(samples, [&](long i) {
            for (long j = 0; j < samples; ++j) {
                kernel_[i * samples + j] += T(1);
            }
        });
    }
}

template <class T>
void Affine<T>::add_gram(const T* deltas, int count, T* gram) {
    if (one_patch()) {
        add_products_of_kernels(inputs_.get(), fan_in(), trains_biases_ ? T(1) : T(0), deltas, out.channels, samples,
                                count, gram);
    } else {
        add_products_of_gradients(deltas, count, gram);
    }
}

template <class T>
double Affine<T>::gram_flops(double n, double count) const {
    const double rows = n * count;
    return one_patch() ? n * n * fan_in() + rows * rows * out.channels
                       : count * forward_flops(n) + rows * rows * parameters();
}

// The means of the patches' columns over all rows, in centres_ where patches are gathered, else taken off at once.
template <class T>
void Affine<T>::centre(T* activations) {
    std::vector<double> means;
    if (plain_) {
        means = column_sums(activations, rows_out(), static_cast<int>(patch()));
    } else {
        means = row_sums(samples, patch(), [&](long first, long last, double* sums) {
            for (long sample = first; sample < last; ++sample) {
                const T* image = activations + sample * in.units();
                runs([&](long, long column, long place) {
                    for (int c = 0; place >= 0 && c < channels_; ++c) {
                        sums[column + c] += image[place + c];
                    }
                });
            }
        });
    }
    centres_.resize(patch());
    for (long k = 0; k < patch(); ++k) {
        centres_[k] = static_cast<T>(means[k] / static_cast<double>(rows_out()));
    }
    offsets_.assign(biases_.begin(), biases_.end());
    for (int o = 0; o < out.channels; ++o) {
        const T* centres = centres_.data() + o / group_size() * fan_in();
        for (long k = 0; k < fan_in(); ++k) {
            offsets_[o] += static_cast<double>(weights_[o * fan_in() + k]) * centres[k];
        }
    }
    if (plain_) {
        shift(activations, T(-1));
    }
}

template <class T>
void Affine<T>::restore(T* activations) {
    if (plain_ && !centres_.empty()) {
        shift(activations, T(1));
    }
    centres_.clear();
}

template <class T>
void Affine<T>::shift(T* activations, T sign) {
    RowBlocks{rows_out()}([&](long, long first, long last) {
        for (long row = first; row < last; ++row) {
            T* inputs = activations + row * patch();
            for (long k = 0; k < patch(); ++k) {
                inputs[k] += sign * centres_[k];
            }
        }
    });
}

// z_ro is off by about eps |p_r| |w_o|, which is at least the largest of the sums on the way to it.
template <class T>
void Affine<T>::disturb(const T* activations, T* z, const Pass& pass) {
    const Noise random = pass.random();
    std::vector<double> lengths(out.channels);
    for (int o = 0; o < out.channels; ++o) {
        lengths[o] = pass.noise_unit<T>() * norm_of(weights_.get() + o * fan_in(), fan_in());
    }
    const double bias = normed_ ? 0.0 : pass.noise_unit<T>();
    each_chunk(
        activations,
        [&](long begin, long rows, const T* patches) {
            parallel_for(rows, [&](long row) {
                double length = 0.0;
                for (int o = 0; o < out.channels; ++o) {
                    if (o % group_size() == 0) {
                        length = norm_of(patches + row * patch() + o / group_size() * fan_in(), fan_in());
                    }
                    const long at = (begin + row) * out.channels + o;
                    z[at] += static_cast<T>((length * lengths[o] + bias * std::fabs(biases_[o])) * random(at));
                }
            });
        },
        centres());
}

template <class T>
template <class Body>
void Affine<T>::each_chunk(const T* activations, const Body& body, const T* centres) {
    if (plain_) {
        body(0L, rows_out(), activations);
        return;
    }
    for (long first = 0; first < samples; first += chunk_) {
        const long some = std::min(chunk_, samples - first);
        parallel_for(some, [&](long sample) { gather(activations, first + sample, patches_.get(), sample, centres); });
        body(first * out.positions(), some * out.positions(), static_cast<const T*>(patches_.get()));
    }
}

// body(start of a row of a sample's patches, column, place in its image) for runs of channels_ numbers; the place is -1
// where zeros stand.
template <class T>
template <class Body>
void Affine<T>::runs(const Body& body) const {
    const long count = channels_, inputs = fan_in(), width = patch(), channels = in.channels;
    const int groups = groups_;
    if (groups == 1) { // most are: one run a tap, without a loop
        taps(in, out, windows_, [&](long row, int tap, long position) {
            body(row * width, tap * count, position < 0 ? -1L : position * channels);
        });
        return;
    }
    taps(in, out, windows_, [&](long row, int tap, long position) {
        for (int group = 0; group < groups; ++group) {
            body(row * width, group * inputs + tap * count, position < 0 ? -1L : position * channels + group * count);
        }
    });
}

template <class T>
void Affine<T>::gather(const T* activations, long sample, T* patches, long place, const T* centres) const {
    const T* image = activations + sample * in.units();
    T* to = patches + place * out.positions() * patch();
    const int count = channels_;
    runs([&](long row, long column, long place) {
        T* part = to + row + column;
        if (place >= 0) {
            std::copy_n(image + place, count, part);
        } else {
            std::fill_n(part, count, T(0));
        }
        for (int c = 0; centres && c < count; ++c) {
            part[c] -= centres[column + c];
        }
    });
}

// result += patches weights^T
template <class T>
void Affine<T>::apply(const T* activations, const T* weights, T* result, const T* centres) {
    each_chunk(
        activations,
        [&](long begin, long rows, const T* patches) {
            for (int group = 0; group < groups_; ++group) {
                const long first = static_cast<long>(group) * group_size();
                blas::multiply(false, true, rows, group_size(), fan_in(), patches + group * fan_in(), patch(),
                               weights + first * fan_in(), fan_in(), T(1), result + begin * out.channels + first,
                               out.channels);
            }
        },
        centres);
}

template <class T>
void Affine<T>::gradient(const T* deltas, T* code) {
    each_chunk(
        inputs_.get(),
        [&](long begin, long rows, const T* patches) {
            for (int group = 0; group < groups_; ++group) {
                const long first = static_cast<long>(group) * group_size();
                blas::multiply(true, false, group_size(), fan_in(), rows, deltas + begin * out.channels + first,
                               out.channels, patches + group * fan_in(), patch(), T(begin > 0), code + first * fan_in(),
                               fan_in());
            }
        },
        centres());
    if (trains_biases_) {
        const std::vector<double> sums = column_sums(deltas, rows_out(), out.channels);
        std::copy(sums.begin(), sums.end(), code + weight_count());
    }
}

// Several positions: by the gradients of every sample and output, some output channels at a time.
template <class T>
void Affine<T>::add_products_of_gradients(const T* deltas, int count, T* gram) {
    constexpr std::size_t kNumbers = std::size_t{1} << 22;
    const long all = samples * count, positions = out.positions(), inputs = fan_in();
    const long width = inputs + (trains_biases_ ? 1 : 0);
    const long some = std::clamp<long>(static_cast<long>(kNumbers / (all * width)), 1, out.channels);
    const Buffer<T> gradients = numbers<T>(all * some * width);
    for (long first = 0; first < out.channels; first += some) {
        const long channels = std::min(some, out.channels - first);
        const auto of_chunk = [&](long row, long rows, const T* patches) {
            const long begin = row / positions, samples_here = rows / positions;
            for (long item = 0; item < samples_here * count; ++item) {
                const long k = item / samples_here, sample = item % samples_here;
                const T* delta = deltas + ((k * samples + begin + sample) * positions) * out.channels + first;
                T* to = gradients.get() + (k * samples + begin + sample) * channels * width;
                for (long c = 0, here = 0; c < channels; c += here) { // those of one group after the other
                    const long group = (first + c) / group_size();
                    here = std::min(channels, (group + 1) * group_size() - first) - c;
                    blas::multiply(true, false, here, inputs, positions, delta + c, out.channels,
                                   patches + sample * positions * patch() + group * inputs, patch(), T(0),
                                   to + c * width, width);
                }
                for (long c = 0; trains_biases_ && c < channels; ++c) {
                    T sum = 0;
                    for (long p = 0; p < positions; ++p) {
                        sum += delta[p * out.channels + c];
                    }
                    to[c * width + inputs] = sum;
                }
            }
        };
        each_chunk(inputs_.get(), of_chunk, centres());
        blas::multiply_by_transpose(all, channels * width, gradients.get(), T(1), gram);
    }
}

template class Affine<float>;
template class Affine<double>;

} // namespace fisherfield::finite_network
