// SPDX-License-Identifier: BSD-3-Clause
#include "sampled.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "blas.hpp"
#include "simd.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

// Rows in blocks that the matrix alone decides on, so that sums over rows do not depend on the number of threads.
class RowBlocks {
public:
    explicit RowBlocks(long rows) : rows_(rows), size_(std::max(16L, (rows + 255) / 256)) {}
    long count() const { return (rows_ + size_ - 1) / size_; }

    // body(block, first, last)
    template <class Body>
    void operator()(const Body& body) const {
        parallel_for(count(), [&](long block) { body(block, block * size_, std::min(rows_, (block + 1) * size_)); });
    }

private:
    long rows_, size_;
};

// body(first, last, sums) adds its rows to `count` sums; their total over all rows, in a fixed order.
template <class Body>
std::vector<double> row_sums(long rows, std::size_t count, const Body& body) {
    const RowBlocks blocks(rows);
    std::vector<double> parts(blocks.count() * count);
    blocks([&](long block, long first, long last) { body(first, last, parts.data() + block * count); });
    std::vector<double> total(parts.begin(), parts.begin() + static_cast<long>(count));
    for (long block = 1; block < blocks.count(); ++block) {
        for (std::size_t i = 0; i < count; ++i) {
            total[i] += parts[block * count + i];
        }
    }
    return total;
}

template <class T>
std::vector<double> column_sums(const T* matrix, long rows, int columns) {
    return row_sums(rows, columns, [&](long first, long last, double* sums) {
        for (long row = first; row < last; ++row) {
            for (int c = 0; c < columns; ++c) {
                sums[c] += matrix[row * columns + c];
            }
        }
    });
}

template <class T>
void fill_rows(T* matrix, long rows, int columns, const T* row) {
    RowBlocks{rows}([&](long, long first, long last) {
        for (long r = first; r < last; ++r) {
            if (row) {
                std::copy_n(row, columns, matrix + r * columns);
            } else {
                std::fill_n(matrix + r * columns, columns, T(0));
            }
        }
    });
}

template <class T>
void copy_rows(const T* from, long rows, int columns, T* to) {
    RowBlocks{rows}([&](long, long first, long last) {
        std::copy(from + first * columns, from + last * columns, to + first * columns);
    });
}

// (a x b) matrices to (b x a) ones, `count` of them.
template <class X, class T>
void transpose(const X* from, long count, int a, int b, T* to) {
    parallel_for(count, [&](long item) {
        const X* in = from + item * a * b;
        T* out = to + item * a * b;
        if (a == 1 || b == 1) {
            std::copy_n(in, static_cast<long>(a) * b, out);
            return;
        }
        for (int i = 0; i < a; ++i) {
            for (int j = 0; j < b; ++j) {
                out[static_cast<long>(j) * a + i] = in[static_cast<long>(i) * b + j];
            }
        }
    });
}

// The lower triangle over the diagonal, by square tiles that stay in the cache.
template <class T>
void mirror(T* matrix, long n) {
    constexpr long kTile = 64;
    parallel_for((n + kTile - 1) / kTile, [&](long tile) {
        const long first = tile * kTile, last = std::min(n, first + kTile);
        for (long left = 0; left < last; left += kTile) {
            for (long i = first; i < last; ++i) {
                for (long j = left; j < std::min(i, left + kTile); ++j) {
                    matrix[j * n + i] = matrix[i * n + j];
                }
            }
        }
    });
}

// Numbers of mean 0 and variance 1, the same wherever and in whatever order they are asked for.
class Noise {
public:
    explicit Noise(std::uint64_t seed) : key_(mixed(seed + 0x9e3779b97f4a7c15ULL)) {}
    double operator()(std::uint64_t place) const {
        const double uniform = static_cast<double>(mixed(key_ + place * 0x9e3779b97f4a7c15ULL) >> 11) * 0x1p-53;
        return 3.4641016151377544 * (uniform - 0.5);
    }

private:
    static std::uint64_t mixed(std::uint64_t z) { // G. Steele et al., SplitMix
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    std::uint64_t key_;
};

template <class T>
double norm_of(const T* x, long count) {
    double sum = 0.0;
    for (long i = 0; i < count; ++i) {
        sum += static_cast<double>(x[i]) * x[i];
    }
    return std::sqrt(sum);
}

struct Image {
    int channels;
    Pair size;
    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    long units() const { return positions() * channels; }
};

Image slid(const Image& image, const Windows& w, int channels) { return {channels, w.on(image.size)}; }

// body(row of the output, tap, position of the input) for every tap that lies on the image; outside is zero.
template <class Body>
void taps(const Image& in, const Image& out, const Windows& w, const Body& body) {
    for (int y = 0; y < out.size[0]; ++y) {
        for (int x = 0; x < out.size[1]; ++x) {
            for (int dy = 0; dy < w.kernel[0]; ++dy) {
                for (int dx = 0; dx < w.kernel[1]; ++dx) {
                    const std::int64_t from_y = std::int64_t{y} * w.stride[0] + dy - w.padding[0],
                                       from_x = std::int64_t{x} * w.stride[1] + dx - w.padding[1];
                    const bool inside = from_y >= 0 && from_y < in.size[0] && from_x >= 0 && from_x < in.size[1];
                    body(static_cast<long>(y) * out.size[1] + x, dy * w.kernel[1] + dx,
                         inside ? static_cast<long>(from_y * in.size[1] + from_x) : -1L);
                }
            }
        }
    }
}

// phi and phi' in place of x; slopes may be left out.
template <class T>
void activate(const Activation& phi, T* x, T* slope, long count) {
    if (phi.kind == Kind::relu) {
        for (long i = 0; i < count; ++i) {
            const bool on = x[i] > 0;
            x[i] = on ? x[i] : T(0);
            if (slope) {
                slope[i] = on ? T(1) : T(0);
            }
        }
        return;
    }
    constexpr long kPoints = 512;
    double point[kPoints], value[kPoints], derivative[kPoints];
    for (long first = 0; first < count; first += kPoints) {
        const int some = static_cast<int>(std::min(kPoints, count - first));
        std::copy_n(x + first, some, point);
        evaluate(phi, point, value, slope ? derivative : nullptr, some);
        std::copy_n(value, some, x + first);
        if (slope) {
            std::copy_n(derivative, some, slope + first);
        }
    }
}

} // namespace

// Rows are samples times positions. `code` is what J^T leaves of the layer's own parameters, in the layer's order; for
// products (`direct` false) whatever leads to its part of J J^T.
template <class T>
struct Linearization<T>::Layer {
    Image in, out;
    long samples = 0;

    Layer(const Image& in, const Image& out) : in(in), out(out) {}
    virtual ~Layer() = default;

    virtual Buffer<T> forward(Buffer<T> activations, std::size_t workspace, bool keep) = 0;
    // Errors of `noise` times what rounding makes of the results, so that what they do to others can be seen.
    double noise = 0.0;
    std::uint64_t seed = 0;
    double noise_unit() const { return noise * static_cast<double>(std::numeric_limits<T>::epsilon()); }

    // Deltas at the output to deltas at the input, unless nothing before has parameters (null).
    virtual void pull(const T* out, T* in, T* code, bool direct) = 0;
    // Changes at the input, none if null, and of the parameters to changes at the output.
    virtual void push(const T* in, T* out, const T* code, bool direct) = 0;

    virtual long parameters() const { return 0; }
    virtual long code_size(bool /*direct*/) const { return parameters(); }
    virtual void to_pytorch(const T* code, T* v) const { std::copy_n(code, parameters(), v); }
    virtual void from_pytorch(const T* v, T* code) const { std::copy_n(v, parameters(), code); }
    virtual bool affine() const { return false; }
    virtual void keep_inputs(Buffer<T> /*activations*/) {}
    virtual bool coupled() const { return false; }
    virtual void prepare(double /*products*/, std::size_t* /*bytes*/) {}
    // gram += the layer's part: `count` stacked deltas, each of `samples` samples; lower triangle.
    virtual void add_gram(const T* /*deltas*/, int /*count*/, T* /*gram*/) {}

    virtual double kept(double /*n*/) const { return 0.0; } // numbers

    virtual double forward_flops(double /*n*/) const { return 0.0; }
    virtual double carry_flops(double /*n*/) const { return 0.0; } // once backwards or forwards
    virtual double own_flops(double /*n*/) const { return 0.0; }
    virtual double gram_flops(double /*n*/, double /*count*/) const { return 0.0; }

    long rows_in() const { return samples * in.positions(); }
    long rows_out() const { return samples * out.positions(); }
};

namespace {

// z = W h + b at every position; a dense layer is one position and one tap, whose channels are all units.
//
// A BatchNorm directly behind it takes the mean of z over all rows away, and with it whatever is the same in all rows
// of the patches. A common offset of 1e8 would cost 8 digits of z, and as many of the gradient: it is taken off the
// patches, column by column, before they meet the weights. Deltas that come back through the mean sum to 0, so that
// their products with the patches do not change either; where the mean is held constant they do, and the patches that
// are kept are as they were.
template <class T>
class Affine final : public Linearization<T>::Layer {
    using Layer = typename Linearization<T>::Layer;
    using Layer::in, Layer::out, Layer::samples, Layer::rows_in, Layer::rows_out;

public:
    // Weights of a unit are (channels, taps) in PyTorch, (taps, channels) here. `plain`: patches are the inputs as they
    // are.
    Affine(const Image& in, const Image& out, const Windows& windows, bool plain, int channels, int taps,
           const T* weights, const T* biases, bool trains_biases)
        : Layer(in, out), windows_(windows), plain_(plain), channels_(channels), taps_(taps),
          trains_biases_(trains_biases), weights_(numbers<T>(static_cast<std::size_t>(out.channels) * fan_in())),
          biases_(biases, biases + out.channels) {
        transpose(weights, out.channels, channels, taps, weights_.get());
    }

    Buffer<T> forward(Buffer<T> activations, std::size_t workspace, bool keep) override {
        const std::size_t one = static_cast<std::size_t>(out.positions()) * fan_in() * sizeof(T);
        chunk_ = std::clamp<long>(static_cast<long>(workspace / one), 1, samples);
        if (!plain_) {
            patches_ = numbers<T>(chunk_ * out.positions() * fan_in());
        }
        Buffer<T> z = numbers<T>(rows_out() * out.channels);
        if (normed) {
            centre(activations.get());
        }
        fill_rows(z.get(), rows_out(), out.channels, normed ? nullptr : biases_.data());
        apply(activations.get(), weights_.get(), z.get(), centres());
        if (this->noise > 0.0) {
            disturb(activations.get(), z.get());
        }
        if (!flows) {
            restore(activations.get());
        }
        kernel_.reset(); // of inputs that were
        inputs_.reset();
        if (keep) {
            inputs_ = std::move(activations);
        } else {
            patches_.reset();
        }
        return z;
    }

    // In place of the kept ones, where their offset was taken off beforehand and has to count.
    void keep_inputs(Buffer<T> activations) override {
        if (normed && !flows) {
            inputs_ = std::move(activations);
        }
    }

    void pull(const T* deltas, T* result, T* code, bool direct) override {
        if (code && !direct && kernel_) {
            blas::multiply(false, false, samples, out.channels, samples, kernel_.get(), samples, deltas, out.channels,
                           T(0), code, out.channels);
        } else if (code) {
            gradient(deltas, code);
        }
        if (!result) {
            return;
        }
        if (plain_) {
            blas::multiply(false, false, rows_out(), fan_in(), out.channels, deltas, out.channels, weights_.get(),
                           fan_in(), T(0), result, fan_in());
            return;
        }
        fill_rows<T>(result, rows_in(), in.channels, nullptr);
        for (long first = 0; first < samples; first += chunk_) {
            const long some = std::min(chunk_, samples - first), rows = some * out.positions();
            blas::multiply(false, false, rows, fan_in(), out.channels, deltas + first * out.units(), out.channels,
                           weights_.get(), fan_in(), T(0), patches_.get(), fan_in());
            parallel_for(some, [&](long sample) {
                const T* patches = patches_.get() + sample * out.positions() * fan_in();
                T* image = result + (first + sample) * in.units();
                taps(in, out, windows_, [&](long row, int tap, long position) {
                    if (position >= 0) {
                        const T* from = patches + row * fan_in() + static_cast<long>(tap) * channels_;
                        T* to = image + position * channels_;
                        for (int c = 0; c < channels_; ++c) {
                            to[c] += from[c];
                        }
                    }
                });
            });
        }
    }

    void push(const T* changes, T* result, const T* code, bool direct) override {
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

    bool affine() const override { return true; }
    bool rows_are_samples() const { return in.positions() == 1; }
    bool padded() const { return windows_.padding != Pair{0, 0}; }
    long parameters() const override { return weight_count() + (trains_biases_ ? out.channels : 0); }
    long code_size(bool direct) const override { return !direct && kernel_ ? samples * out.channels : parameters(); }
    void to_pytorch(const T* code, T* v) const override {
        transpose(code, out.channels, taps_, channels_, v);
        std::copy(code + weight_count(), code + parameters(), v + weight_count());
    }
    void from_pytorch(const T* v, T* code) const override {
        transpose(v, out.channels, channels_, taps_, code);
        std::copy(v + weight_count(), v + parameters(), code + weight_count());
    }

    void prepare(double products, std::size_t* bytes) override {
        const double n = static_cast<double>(samples), units = out.channels, inputs = static_cast<double>(fan_in());
        const std::size_t needed = static_cast<std::size_t>(samples) * samples * sizeof(T);
        const bool cheaper = n * n * inputs + products * 2 * n * n * units < products * 4 * n * inputs * units;
        if (kernel_ || !plain_ || out.positions() != 1 || !cheaper || needed > *bytes) {
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

    void add_gram(const T* deltas, int count, T* gram) override {
        if (plain_ && out.positions() == 1) {
            add_products_of_kernels(deltas, count, gram);
        } else {
            add_products_of_gradients(deltas, count, gram);
        }
    }

    double kept(double n) const override { return n * in.units(); }
    double forward_flops(double n) const override { return 2.0 * n * out.positions() * out.channels * fan_in(); }
    double carry_flops(double n) const override { return forward_flops(n); }
    double own_flops(double n) const override { return kernel_ ? 2.0 * n * n * out.channels : 2.0 * forward_flops(n); }
    double gram_flops(double n, double count) const override {
        const double rows = n * count;
        return plain_ && out.positions() == 1 ? n * n * fan_in() + rows * rows * out.channels
                                              : count * forward_flops(n) + rows * rows * parameters();
    }

    bool normed = false;         // a BatchNorm stands directly behind
    bool flows = true;           // and gradients go through its mean
    std::vector<double> offsets; // what was taken off the mean of z

private:
    long fan_in() const { return static_cast<long>(channels_) * taps_; }
    const T* centres() const { return centres_.empty() ? nullptr : centres_.data(); }
    long weight_count() const { return out.channels * fan_in(); }

    // The means of the patches' columns over all rows, in centres_ where patches are gathered, else taken off at once.
    void centre(T* activations) {
        std::vector<double> means;
        if (plain_) {
            means = column_sums(activations, rows_out(), static_cast<int>(fan_in()));
        } else {
            means = row_sums(samples, fan_in(), [&](long first, long last, double* sums) {
                for (long sample = first; sample < last; ++sample) {
                    const T* image = activations + sample * in.units();
                    taps(in, out, windows_, [&](long, int tap, long position) {
                        for (int c = 0; position >= 0 && c < channels_; ++c) {
                            sums[static_cast<long>(tap) * channels_ + c] += image[position * channels_ + c];
                        }
                    });
                }
            });
        }
        centres_.resize(fan_in());
        for (long k = 0; k < fan_in(); ++k) {
            centres_[k] = static_cast<T>(means[k] / static_cast<double>(rows_out()));
        }
        offsets.assign(biases_.begin(), biases_.end());
        for (int o = 0; o < out.channels; ++o) {
            for (long k = 0; k < fan_in(); ++k) {
                offsets[o] += static_cast<double>(weights_[o * fan_in() + k]) * centres_[k];
            }
        }
        if (plain_) {
            shift(activations, T(-1));
        }
    }

    void restore(T* activations) {
        if (plain_ && !centres_.empty()) {
            shift(activations, T(1));
        }
        centres_.clear();
    }

    void shift(T* activations, T sign) {
        RowBlocks{rows_out()}([&](long, long first, long last) {
            for (long row = first; row < last; ++row) {
                T* patch = activations + row * fan_in();
                for (long k = 0; k < fan_in(); ++k) {
                    patch[k] += sign * centres_[k];
                }
            }
        });
    }

    // z_ro is off by about eps |p_r| |w_o|, which is at least the largest of the sums on the way to it.
    void disturb(const T* activations, T* z) {
        const Noise random(this->seed);
        std::vector<double> lengths(out.channels);
        for (int o = 0; o < out.channels; ++o) {
            lengths[o] = this->noise_unit() * norm_of(weights_.get() + o * fan_in(), fan_in());
        }
        const double bias = normed ? 0.0 : this->noise_unit();
        each_chunk(
            activations,
            [&](long begin, long rows, const T* patches) {
                parallel_for(rows, [&](long row) {
                    const double length = norm_of(patches + row * fan_in(), fan_in());
                    for (int o = 0; o < out.channels; ++o) {
                        const long at = (begin + row) * out.channels + o;
                        z[at] += static_cast<T>((length * lengths[o] + bias * std::fabs(biases_[o])) * random(at));
                    }
                });
            },
            centres());
    }

    // body(first row of the output, rows, their patches), off their centres where patches are gathered
    template <class Body>
    void each_chunk(const T* activations, const Body& body, const T* centres) {
        if (plain_) {
            body(0L, rows_out(), activations);
            return;
        }
        for (long first = 0; first < samples; first += chunk_) {
            const long some = std::min(chunk_, samples - first);
            parallel_for(some,
                         [&](long sample) { gather(activations, first + sample, patches_.get(), sample, centres); });
            body(first * out.positions(), some * out.positions(), static_cast<const T*>(patches_.get()));
        }
    }

    void gather(const T* activations, long sample, T* patches, long place, const T* centres) const {
        const T* image = activations + sample * in.units();
        T* to = patches + place * out.positions() * fan_in();
        taps(in, out, windows_, [&](long row, int tap, long position) {
            T* patch = to + row * fan_in() + static_cast<long>(tap) * channels_;
            if (position >= 0) {
                std::copy_n(image + position * channels_, channels_, patch);
            } else {
                std::fill_n(patch, channels_, T(0));
            }
            if (centres) {
                const T* centre = centres + static_cast<long>(tap) * channels_;
                for (int c = 0; c < channels_; ++c) {
                    patch[c] -= centre[c];
                }
            }
        });
    }

    // result += patches weights^T
    void apply(const T* activations, const T* weights, T* result, const T* centres) {
        each_chunk(
            activations,
            [&](long first, long rows, const T* patches) {
                blas::multiply(false, true, rows, out.channels, fan_in(), patches, fan_in(), weights, fan_in(), T(1),
                               result + first * out.channels, out.channels);
            },
            centres);
    }

    void gradient(const T* deltas, T* code) {
        each_chunk(
            inputs_.get(),
            [&](long first, long rows, const T* patches) {
                blas::multiply(true, false, out.channels, fan_in(), rows, deltas + first * out.channels, out.channels,
                               patches, fan_in(), T(first > 0), code, fan_in());
            },
            centres());
        if (trains_biases_) {
            const std::vector<double> sums = column_sums(deltas, rows_out(), out.channels);
            std::copy(sums.begin(), sums.end(), code + weight_count());
        }
    }

    // One position: entry (k i, k' j) is (h_i . h_j + 1) (delta_ki . delta_k'j). By square blocks, so that the products
    // stand in little memory and only half of a symmetric one is formed.
    void add_products_of_kernels(const T* deltas, int count, T* gram) {
        constexpr long kSide = 512;
        const long n = samples, all = n * count, width = out.channels, inputs = fan_in();
        const long side = std::min(kSide, n);
        const Buffer<T> kernel = numbers<T>(side * side), product = numbers<T>(side * side);
        const T one = trains_biases_ ? T(1) : T(0);
        const auto block_product = [&](const T* a, long rows, const T* b, long columns, long inner, T* c) {
            if (a == b) {
                blas::multiply_by_transpose(rows, inner, a, T(0), c);
            } else {
                blas::multiply(false, true, rows, columns, inner, a, inner, b, inner, T(0), c, columns);
            }
        };
        for (long top = 0; top < n; top += side) {
            const long rows = std::min(side, n - top);
            for (long left = 0; left <= top; left += side) {
                const long columns = std::min(side, n - left);
                const bool diagonal = top == left;
                block_product(inputs_.get() + top * inputs, rows, inputs_.get() + left * inputs, columns, inputs,
                              kernel.get());
                if (diagonal && count > 1) {
                    mirror(kernel.get(), rows);
                }
                for (int k = 0; k < count; ++k) {
                    for (int other = 0; other <= k; ++other) {
                        const T* a = deltas + k * n * width;
                        const T* b = deltas + other * n * width;
                        block_product(a + top * width, rows, b + left * width, columns, width, product.get());
                        parallel_for(rows, [&](long i) {
                            T* entry = gram + (k * n + top + i) * all + other * n + left;
                            const long last = diagonal && k == other ? i + 1 : columns;
                            for (long j = 0; j < last; ++j) {
                                entry[j] += (kernel[i * columns + j] + one) * product[i * columns + j];
                            }
                        });
                        if (diagonal || k == other) {
                            continue;
                        }
                        block_product(a + left * width, columns, b + top * width, rows, width, product.get());
                        parallel_for(columns, [&](long j) {
                            T* entry = gram + (k * n + left + j) * all + other * n + top;
                            for (long i = 0; i < rows; ++i) {
                                entry[i] += (kernel[i * columns + j] + one) * product[j * rows + i];
                            }
                        });
                    }
                }
            }
        }
    }

    // Several positions: by the gradients of every sample and output, some output channels at a time.
    void add_products_of_gradients(const T* deltas, int count, T* gram) {
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
                    blas::multiply(true, false, channels, inputs, positions, delta, out.channels,
                                   patches + sample * positions * inputs, inputs, T(0), to, width);
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

    Windows windows_;
    bool plain_;
    int channels_, taps_;
    bool trains_biases_;
    Buffer<T> weights_;
    std::vector<T> biases_;
    std::vector<T> centres_; // of patches to be gathered; empty: none
    long chunk_ = 1;
    Buffer<T> inputs_, patches_, kernel_;
};

// u = (z - mean)/s, h = phi(gamma u + beta); without BatchNorm h = phi(z).
template <class T>
class NormPhi final : public Linearization<T>::Layer {
    using Layer = typename Linearization<T>::Layer;
    using Layer::out, Layer::samples, Layer::rows_out;

public:
    Statistics statistics;
    int norm = -1; // which BatchNorm of the network; -1: none
    std::vector<double> gamma, beta;
    double eps = 0.0;
    bool trained = false;
    const std::vector<double>* offsets = nullptr; // of z, which the affine layer before took off
    bool inputs_are_exact = false;                // no activation stands before that layer
    Activation phi;                               // linear unless it is set

    explicit NormPhi(const Image& image) : Layer(image, image) {}

    Buffer<T> forward(Buffer<T> z, std::size_t /*workspace*/, bool keep) override {
        const long rows = rows_out();
        const int columns = out.channels;
        const std::vector<double> mean = norm >= 0 ? statistics_of(z.get()) : std::vector<double>();
        u_.reset(); // of inputs that were
        slope_.reset();
        if (norm >= 0 && keep && (flows() || trained)) {
            u_ = numbers<T>(rows * columns);
        }
        if (phi.kind != Kind::linear && keep) {
            slope_ = numbers<T>(rows * columns);
        }
        const Noise random(this->seed);
        const double unit = this->noise_unit();
        RowBlocks{rows}([&](long, long first, long last) {
            for (long row = first; row < last; ++row) { // all of a row while it is in the cache
                const long at = row * columns;
                T* h = z.get() + at;
                if (norm >= 0) {
                    for (int c = 0; c < columns; ++c) {
                        h[c] = static_cast<T>((h[c] - mean[c]) * inverse_[c]);
                    }
                    if (u_) {
                        std::copy_n(h, columns, u_.get() + at);
                    }
                    for (int c = 0; c < columns; ++c) {
                        h[c] = static_cast<T>(gamma[c]) * h[c] + static_cast<T>(beta[c]);
                    }
                }
                for (int c = 0; norm >= 0 && unit > 0.0 && c < columns; ++c) {
                    h[c] += static_cast<T>(unit * (std::fabs(h[c] - beta[c]) + std::fabs(beta[c])) * random(at + c));
                }
                if (phi.kind != Kind::linear) {
                    T* slope = slope_ ? slope_.get() + at : nullptr;
                    activate(phi, h, slope, columns);
                    for (int c = 0; unit > 0.0 && c < columns; ++c) {
                        h[c] += static_cast<T>(unit * h[c] * random(rows * columns + at + c));
                        if (slope) {
                            slope[c] += static_cast<T>(unit * slope[c] * random(2 * rows * columns + at + c));
                        }
                    }
                }
            }
        });
        return z;
    }

    void pull(const T* deltas, T* result, T* code, bool /*direct*/) override {
        Coefficients k;
        if (norm >= 0 && (flows() || code)) {
            const Sums sums = this->sums(deltas, slope_.get());
            if (code) {
                std::copy(sums.begin() + out.channels, sums.end(), code);                  // d f/d gamma
                std::copy(sums.begin(), sums.begin() + out.channels, code + out.channels); // d f/d beta
            }
            k = coefficients(sums);
        } else {
            k = coefficients({});
        }
        each(
            deltas,
            [&](T delta, T slope, T u, int c) { return k.scale[c] * (delta * slope) - k.shift[c] - k.tilt[c] * u; },
            result);
    }

    void push(const T* changes, T* result, const T* code, bool /*direct*/) override {
        Coefficients k = coefficients(norm >= 0 && flows() ? sums(changes, nullptr) : Sums{});
        for (int c = 0; code && c < out.channels; ++c) {
            k.tilt[c] -= code[c];
            k.shift[c] -= code[out.channels + c];
        }
        each(
            changes,
            [&](T change, T slope, T u, int c) { return slope * (k.scale[c] * change - k.shift[c] - k.tilt[c] * u); },
            result);
    }

    long parameters() const override { return trained ? 2L * out.channels : 0; }
    bool coupled() const override { return norm >= 0 && flows(); }

    // By the gradients of gamma and beta of every sample and output.
    void add_gram(const T* deltas, int count, T* gram) override {
        if (!trained) {
            return;
        }
        const long all = samples * count, positions = out.positions(), channels = out.channels;
        const Buffer<T> gradients = numbers<T>(all * 2 * channels);
        parallel_for(all, [&](long item) {
            T* to = gradients.get() + item * 2 * channels;
            std::fill_n(to, 2 * channels, T(0));
            for (long p = 0; p < positions; ++p) {
                const long at = (item * positions + p) * channels, here = (item % samples * positions + p) * channels;
                for (long c = 0; c < channels; ++c) {
                    const T delta = deltas[at + c] * (slope_ ? slope_[here + c] : T(1));
                    to[c] += delta * u_[here + c];
                    to[channels + c] += delta;
                }
            }
        });
        blas::multiply_by_transpose(all, 2 * channels, gradients.get(), T(1), gram);
    }

    double kept(double n) const override {
        return n * out.units() * ((phi.kind != Kind::linear) + (norm >= 0 && (flows() || trained)));
    }
    double gram_flops(double n, double count) const override { return n * count * n * count * parameters(); }

private:
    using Sums = std::vector<double>; // of what goes through, and of that times u

    // Of scale x - shift - tilt u, a column each.
    struct Coefficients {
        std::vector<T> scale, shift, tilt;
    };

    bool flows() const { return statistics.mean || statistics.variance; }

    // The means; 1/s is kept.
    std::vector<double> statistics_of(const T* z) {
        const long rows = rows_out();
        const int columns = out.channels;
        std::vector<double> mean = column_sums(z, rows, columns);
        for (double& m : mean) {
            m /= static_cast<double>(rows);
        }
        const std::vector<double> squares = row_sums(rows, columns, [&](long first, long last, double* sums) {
            for (long row = first; row < last; ++row) {
                for (int c = 0; c < columns; ++c) {
                    const double centred = z[row * columns + c] - mean[c];
                    sums[c] += centred * centred;
                }
            }
        });
        inverse_.resize(columns);
        for (int c = 0; c < columns; ++c) {
            const double variance = squares[c] / static_cast<double>(rows);
            // What rounding leaves of equal numbers: those in hand, and what was taken off unless that was exact.
            const double off = inputs_are_exact ? 0.0 : std::fabs((*offsets)[c]);
            const double least = (sizeof(T) == 8 ? 1e-12 : 1e-5) * (std::fabs(mean[c]) + off);
            if (eps == 0.0 && variance <= least * least) {
                throw ZeroVariance(norm, c);
            }
            inverse_[c] = 1.0 / std::sqrt(variance + eps);
        }
        return mean;
    }

    Sums sums(const T* x, const T* slope) const {
        const int columns = out.channels;
        return row_sums(rows_out(), 2 * columns, [&](long first, long last, double* sums) {
            for (long row = first; row < last; ++row) {
                const long at = row * columns;
                for (int c = 0; c < columns; ++c) {
                    const T term = slope ? x[at + c] * slope[at + c] : x[at + c];
                    sums[c] += term;
                    sums[columns + c] += term * u_[at + c];
                }
            }
        });
    }

    Coefficients coefficients(const Sums& sums) const {
        const int columns = out.channels;
        Coefficients k{std::vector<T>(columns, T(1)), std::vector<T>(columns), std::vector<T>(columns)};
        for (int c = 0; norm >= 0 && c < columns; ++c) {
            const double scale = gamma[c] * inverse_[c], rows = static_cast<double>(rows_out());
            k.scale[c] = static_cast<T>(scale);
            k.shift[c] = static_cast<T>(statistics.mean ? scale * sums[c] / rows : 0.0);
            k.tilt[c] = static_cast<T>(statistics.variance ? scale * sums[columns + c] / rows : 0.0);
        }
        return k;
    }

    // result = body(x, phi', u, column)
    template <class Body>
    void each(const T* x, const Body& body, T* result) const {
        const int columns = out.channels;
        const T* slope = slope_.get();
        const T* u = u_.get();
        RowBlocks{rows_out()}([&](long, long first, long last) {
            for (long row = first; row < last; ++row) {
                const long at = row * columns;
                for (int c = 0; c < columns; ++c) {
                    result[at + c] = body(x[at + c], slope ? slope[at + c] : T(1), u ? u[at + c] : T(0), c);
                }
            }
        });
    }

    std::vector<double> inverse_; // 1/s
    Buffer<T> u_, slope_;
};

// The mean over windows.
template <class T>
class AveragePool final : public Linearization<T>::Layer {
    using Layer = typename Linearization<T>::Layer;
    using Layer::in, Layer::out, Layer::samples, Layer::rows_in, Layer::rows_out;

public:
    AveragePool(const Image& in, const Image& out, const Windows& windows) : Layer(in, out), windows_(windows) {}

    Buffer<T> forward(Buffer<T> activations, std::size_t /*workspace*/, bool /*keep*/) override {
        Buffer<T> result = numbers<T>(rows_out() * out.channels);
        push(activations.get(), result.get(), nullptr, true);
        if (this->noise > 0.0) {
            const long units = rows_in() * in.channels;
            for (long i = 0; i < units; ++i) {
                activations[i] = std::fabs(activations[i]);
            }
            Buffer<T> sizes = numbers<T>(rows_out() * out.channels);
            push(activations.get(), sizes.get(), nullptr, true);
            const Noise random(this->seed);
            for (long i = 0; i < rows_out() * out.channels; ++i) {
                result[i] += static_cast<T>(this->noise_unit() * sizes[i] * random(i));
            }
        }
        return result;
    }

    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_in(), in.channels, nullptr);
        each([&](long row, long position) { return std::pair{deltas + row, result + position}; });
    }

    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_out(), out.channels, nullptr);
        each([&](long row, long position) { return std::pair{changes + position, result + row}; });
    }

private:
    // Adds the mean's share of one pixel to another, as `pixels` (from, to) says of the output's and the input's.
    template <class Pixels>
    void each(const Pixels& pixels) const {
        const T share = T(1) / static_cast<T>(windows_.kernel[0] * windows_.kernel[1]);
        parallel_for(samples, [&](long sample) {
            taps(in, out, windows_, [&](long row, int, long position) {
                const auto [from, to] =
                    pixels(sample * out.units() + row * out.channels, sample * in.units() + position * in.channels);
                for (int c = 0; c < in.channels; ++c) {
                    to[c] += share * from[c];
                }
            });
        });
    }

    Windows windows_;
};

} // namespace

template <class T>
Linearization<T>::Linearization(int channels, Pair size, Statistics statistics, bool biases)
    : statistics_(statistics), biases_(biases), channels_(channels), size_(size), input_channels_(channels),
      input_size_(size) {}

template <class T>
Linearization<T>::~Linearization() = default;

template <class T>
void Linearization<T>::dense(int units, const T* weights, const T* biases, bool trains_biases) {
    // After a flattening, a unit's weights are (channels, positions).
    const Image image{channels_, size_}, flat{static_cast<int>(image.units()), {1, 1}};
    layers_.push_back(std::make_unique<Affine<T>>(flat, Image{units, {1, 1}}, Windows{}, true, channels_,
                                                  static_cast<int>(image.positions()), weights, biases,
                                                  biases_ && trains_biases));
    channels_ = units;
    size_ = {1, 1};
    phi_ = nullptr;
}

template <class T>
void Linearization<T>::conv2d(int channels, const Windows& windows, const T* weights, const T* biases,
                              bool trains_biases) {
    const Image in{channels_, size_}, out = slid(in, windows, channels);
    const int taps = windows.kernel[0] * windows.kernel[1];
    const bool plain = taps == 1 && windows.stride == Pair{1, 1} && windows.padding == Pair{0, 0};
    layers_.push_back(std::make_unique<Affine<T>>(in, out, windows, plain, channels_, taps, weights, biases,
                                                  biases_ && trains_biases));
    channels_ = channels;
    size_ = out.size;
    phi_ = nullptr;
}

template <class T>
void Linearization<T>::batch_norm(const T* gamma, const T* beta, double eps, bool trained) {
    auto layer = std::make_unique<NormPhi<T>>(Image{channels_, size_});
    layer->statistics = statistics_;
    layer->norm = norms_++;
    layer->gamma.assign(gamma, gamma + channels_);
    layer->beta.assign(beta, beta + channels_);
    layer->eps = eps;
    layer->trained = trained;
    auto& before = static_cast<Affine<T>&>(*layers_.back()); // as a description demands
    before.normed = true;
    before.flows = statistics_.mean;
    layer->offsets = &before.offsets;
    layer->inputs_are_exact = std::count_if(layers_.begin(), layers_.end(), [](auto& it) { return it->affine(); }) == 1;
    if (layer->inputs_are_exact) {
        centred_ = before.rows_are_samples() ? Centred::units : before.padded() ? Centred::none : Centred::channels;
    }
    phi_ = &layer->phi;
    layers_.push_back(std::move(layer));
}

template <class T>
void Linearization<T>::activation(const Activation& activation) {
    if (!phi_) {
        auto layer = std::make_unique<NormPhi<T>>(Image{channels_, size_});
        phi_ = &layer->phi;
        layers_.push_back(std::move(layer));
    }
    *phi_ = activation;
    phi_ = nullptr;
}

template <class T>
void Linearization<T>::average_pool(const Windows& windows) {
    const Image in{channels_, size_}, out = slid(in, windows, channels_);
    layers_.push_back(std::make_unique<AveragePool<T>>(in, out, windows));
    size_ = out.size;
}

template <class T>
int Linearization<T>::outputs() const {
    return layers_.back()->out.channels;
}

template <class T>
long Linearization<T>::parameters() const {
    long count = 0;
    for (const auto& layer : layers_) {
        count += layer->parameters();
    }
    return count;
}

template <class T>
bool Linearization<T>::coupled() const {
    return std::any_of(layers_.begin(), layers_.end(), [](const auto& layer) { return layer->coupled(); });
}

// The inputs' means that a BatchNorm behind the first affine layer takes away: over the samples, and for convolutions
// over the positions, too. Taken off in the inputs' own precision, an offset costs those of float64 no digit of
// float32.
template <class T>
template <class X>
Buffer<T> Linearization<T>::inputs(const X* x, bool centred) const {
    const long samples = samples_, units = Image{input_channels_, input_size_}.units();
    const int channels = input_channels_, positions = static_cast<int>(units / channels);
    Buffer<T> activations = numbers<T>(samples * units);
    if (!centred) {
        transpose(x, samples, channels, positions, activations.get());
        return activations;
    }
    std::vector<double> means = column_sums(x, samples, static_cast<int>(units));
    for (int c = 0; centred_ == Centred::channels && c < channels; ++c) {
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

template <class T>
template <class X>
void Linearization<T>::forward(const X* x, long samples, std::size_t workspace, bool keep, T* outputs, double noise,
                               std::uint64_t seed) {
    samples_ = samples;
    const bool centred = centred_ != Centred::none && (sizeof(X) > sizeof(T) || !layers_[0]->affine());
    Buffer<T> activations = inputs(x, centred);
    if (noise > 0.0 && !centred) { // what is lost of inputs of a higher precision
        const Noise random(seed);
        const long units = samples * Image{input_channels_, input_size_}.units();
        const double unit = noise * std::numeric_limits<T>::epsilon();
        const bool exact = std::all_of(x, x + units, [](X value) { return static_cast<T>(value) == value; });
        for (long i = 0; !exact && i < units; ++i) {
            activations[i] += static_cast<T>(unit * activations[i] * random(i));
        }
    }
    first_ = layers_.size();
    std::size_t largest = 0;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        Layer& layer = *layers_[l];
        layer.samples = samples;
        layer.noise = noise;
        layer.seed = seed * 1000003 + l + 1;
        if (layer.affine()) {
            first_ = std::min(first_, l);
            last_ = l;
        }
        activations = layer.forward(std::move(activations), workspace, keep);
        largest = std::max<std::size_t>(largest, samples * layer.out.units());
    }
    copy_rows(activations.get(), samples, this->outputs(), outputs);
    if (centred && keep && !statistics_.mean) {
        activations = inputs(x, false);
        for (std::size_t l = 0; l < first_; ++l) {
            activations = layers_[l]->forward(std::move(activations), workspace, false);
        }
        layers_[first_]->keep_inputs(std::move(activations));
    }
    work_size_ = largest;
    codes_.clear();
    codes_.resize(layers_.size());
    work_[0].reset();
    work_[1].reset();
}

template <class T>
void Linearization<T>::prepare(double products, std::size_t bytes) {
    // The layers in which a matrix saves most come last, as often as not; whichever fits is taken.
    for (const auto& layer : layers_) {
        layer->prepare(products, &bytes);
    }
}

template <class T>
void Linearization<T>::reserve() {
    for (Buffer<T>& work : work_) {
        if (!work) {
            work = numbers<T>(work_size_);
        }
    }
}

template <class T>
void Linearization<T>::backwards(const T* w, bool direct) {
    reserve();
    const T* deltas = w;
    for (std::size_t l = layers_.size(); l-- > first_;) {
        Layer& layer = *layers_[l];
        codes_[l].resize(layer.code_size(direct));
        T* result = l > first_ ? work_[l % 2].get() : nullptr;
        layer.pull(deltas, result, codes_[l].empty() ? nullptr : codes_[l].data(), direct);
        deltas = result;
    }
}

template <class T>
void Linearization<T>::forwards(T* result, bool direct) {
    const T* changes = nullptr;
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        T* out = l + 1 < layers_.size() ? work_[l % 2].get() : result;
        layers_[l]->push(changes, out, codes_[l].empty() ? nullptr : codes_[l].data(), direct);
        changes = out;
    }
}

template <class T>
void Linearization<T>::pull(const T* w, T* v) {
    backwards(w, true);
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        layers_[l]->to_pytorch(codes_[l].data(), v);
        v += layers_[l]->parameters();
    }
}

template <class T>
void Linearization<T>::push(const T* v, T* w) {
    reserve();
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        codes_[l].resize(layers_[l]->parameters());
        layers_[l]->from_pytorch(v, codes_[l].data());
        v += layers_[l]->parameters();
    }
    forwards(w, true);
}

template <class T>
void Linearization<T>::product(const T* w, T* result) {
    backwards(w, false);
    forwards(result, false);
}

template <class T>
void Linearization<T>::product_of_last(const T* w, T* result) {
    const std::size_t first = std::exchange(first_, last_);
    product(w, result);
    first_ = first;
}

template <class T>
void Linearization<T>::gram(T* result) {
    const long n = samples_, count = outputs(), all = n * count;
    fill_rows<T>(result, all, static_cast<int>(all), nullptr);
    // deltas of one output after the other
    std::size_t units = 0;
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        units = std::max<std::size_t>(units, layers_[l]->out.units());
    }
    Buffer<T> deltas = numbers<T>(all * units), next = numbers<T>(all * units);
    fill_rows<T>(deltas.get(), all, static_cast<int>(count), nullptr);
    for (long row = 0; row < all; ++row) {
        deltas[row * count + row / n] = T(1);
    }
    for (std::size_t l = layers_.size(); l-- > first_;) {
        Layer& layer = *layers_[l];
        layer.add_gram(deltas.get(), static_cast<int>(count), result);
        for (long k = 0; l > first_ && k < count; ++k) {
            layer.pull(deltas.get() + k * n * layer.out.units(), next.get() + k * n * layer.in.units(), nullptr, true);
        }
        std::swap(deltas, next);
    }
    mirror(result, all);
}

template <class T>
double Linearization<T>::forward_flops() const {
    double sum = 0.0;
    for (const auto& layer : layers_) {
        sum += layer->forward_flops(static_cast<double>(samples_));
    }
    return sum;
}

template <class T>
double Linearization<T>::bytes(long samples) const {
    const double n = static_cast<double>(samples);
    double count = 0.0, largest = 0.0;
    for (const auto& layer : layers_) {
        count += layer->kept(n) + std::max<double>(n * layer->out.channels, layer->parameters());
        largest = std::max(largest, n * layer->out.units());
    }
    return (count + 2.0 * largest) * sizeof(T);
}

template <class T>
double Linearization<T>::product_flops() const {
    double sum = 0.0;
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        const double n = static_cast<double>(samples_);
        sum += layers_[l]->own_flops(n) + (l > first_ ? 2.0 : 0.0) * layers_[l]->carry_flops(n);
    }
    return sum;
}

template <class T>
double Linearization<T>::gram_flops() const {
    const double n = static_cast<double>(samples_), count = outputs();
    double sum = 0.0;
    for (std::size_t l = first_; l < layers_.size(); ++l) {
        sum += layers_[l]->gram_flops(n, count) + (l > first_ ? count * layers_[l]->carry_flops(n) : 0.0);
    }
    return sum;
}

template class Linearization<float>;
template class Linearization<double>;
template void Linearization<float>::forward(const float*, long, std::size_t, bool, float*, double, std::uint64_t);
template void Linearization<float>::forward(const double*, long, std::size_t, bool, float*, double, std::uint64_t);
template void Linearization<double>::forward(const double*, long, std::size_t, bool, double*, double, std::uint64_t);

} // namespace fisherfield
