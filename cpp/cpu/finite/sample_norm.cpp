// SPDX-License-Identifier: BSD-3-Clause
#include "sample_norm.hpp"

#include <algorithm>
#include <cmath>

#include "blas.hpp"
#include "norms.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

// One for each unit of a sample, position by position, of those in PyTorch's order.
template <class T>
std::vector<T> of_units(const Image& image, std::span<const T> parameters, T otherwise) {
    std::vector<T> values(image.units(), otherwise);
    const long size = static_cast<long>(parameters.size());
    if (size > 0) {
        transpose(parameters.data(), 1, image.channels, static_cast<int>(size / image.channels), values.data());
        for (long unit = size; unit < image.units(); ++unit) {
            values[unit] = values[unit - size];
        }
    }
    return values;
}

} // namespace

template <class T>
SampleNorm<T>::SampleNorm(const Image& image, const SampleStatistics& statistics, std::span<const T> gammas,
                          std::span<const T> betas, bool trained)
    : Map<T>(image, image), statistics_(statistics), size_(static_cast<long>(gammas.size())), shifts_(!betas.empty()),
      trained_(trained), gamma_(of_units(image, gammas, T(1))), beta_(of_units(image, betas, T(0))) {}

template <class T>
Buffer<T> SampleNorm<T>::forward(Buffer<T> z, const Pass& pass) {
    const long units = out.units(), all = samples * units;
    u_.reset(); // of inputs that were
    if (pass.keep) {
        u_ = numbers<T>(all);
    }
    inverse_.resize(samples * statistics_.groups);
    std::vector<char> varies(samples);
    const Noise random = pass.random();
    const double unit = pass.noise_unit<T>();
    parallel_for(samples, [&](long sample) {
        T* h = z.get() + sample * units;
        varies[sample] = normalise(h, inverse_.data() + sample * statistics_.groups);
        if (u_) {
            std::copy_n(h, units, u_.get() + sample * units);
        }
        for (long i = 0; i < units; ++i) {
            h[i] = gamma_[i] * h[i] + beta_[i];
        }
        for (long i = 0; unit > 0.0 && i < units; ++i) {
            const double size = std::fabs(h[i] - beta_[i]) + std::fabs(beta_[i]);
            h[i] += static_cast<T>(unit * size * random(3 * all + sample * units + i)); // other places than phi's
        }
    });
    const auto constant = std::find(varies.begin(), varies.end(), false);
    if (constant != varies.end()) {
        throw ZeroVariance(static_cast<int>(constant - varies.begin()));
    }
    return z;
}

template <class T>
void SampleNorm<T>::pull(const T* deltas, T* result, T* code, bool /*direct*/) {
    if (code) {
        const std::vector<double> sums =
            row_sums(samples * (out.units() / size_), 2 * size_, [&](long first, long last, double* sum) {
                for (long row = first; row < last; ++row) {
                    const T *delta = deltas + row * size_, *u = u_.get() + row * size_;
                    for (long i = 0; i < size_; ++i) {
                        sum[i] += delta[i] * u[i];  // d f/d gamma
                        sum[size_ + i] += delta[i]; // d f/d beta
                    }
                }
            });
        std::copy_n(sums.begin(), parameters(), code);
    }
    if (!result) {
        return;
    }
    const long units = out.units();
    parallel_for(samples, [&](long sample) {
        const T* delta = deltas + sample * units;
        project(sample, [&](long i) { return static_cast<double>(gamma_[i]) * delta[i]; }, result + sample * units);
    });
}

template <class T>
void SampleNorm<T>::push(const T* changes, T* result, const T* code, bool /*direct*/) {
    const long units = out.units();
    parallel_for(samples, [&](long sample) {
        T* h = result + sample * units;
        if (changes) {
            const T* change = changes + sample * units;
            project(sample, [&](long i) { return static_cast<double>(change[i]); }, h);
            for (long i = 0; i < units; ++i) {
                h[i] *= gamma_[i];
            }
        } else {
            std::fill_n(h, units, T(0));
        }
        const T* u = u_.get() + sample * units;
        for (long first = 0; code && first < units; first += size_) {
            for (long i = 0; i < size_; ++i) {
                h[first + i] += code[i] * u[first + i] + (shifts_ ? code[size_ + i] : T(0));
            }
        }
    });
}

// By the gradients of every sample and output, some parameters at a time.
template <class T>
void SampleNorm<T>::add_gram(const T* deltas, int count, T* gram) {
    if (!trained_) {
        return;
    }
    constexpr long kNumbers = 1L << 22;
    const long all = samples * count, units = out.units(), kinds = shifts_ ? 2 : 1;
    const long most = std::clamp(kNumbers / (all * kinds), 1L, size_);
    const Buffer<T> gradients = numbers<T>(all * kinds * most);
    for (long first = 0; first < size_; first += most) {
        const long some = std::min(most, size_ - first);
        parallel_for(all, [&](long item) {
            T* to = gradients.get() + item * kinds * some;
            std::fill_n(to, kinds * some, T(0));
            const T *delta = deltas + item * units, *u = u_.get() + item % samples * units;
            for (long row = first; row < units; row += size_) {
                for (long i = 0; i < some; ++i) {
                    to[i] += delta[row + i] * u[row + i];
                }
                for (long i = 0; shifts_ && i < some; ++i) {
                    to[some + i] += delta[row + i];
                }
            }
        });
        blas::multiply_by_transpose(all, kinds * some, gradients.get(), T(1), gram);
    }
}

template <class T>
void SampleNorm<T>::to_pytorch(const T* code, T* v) const {
    transpose(code, parameters() / size_, static_cast<int>(size_ / out.channels), out.channels, v);
}

template <class T>
void SampleNorm<T>::from_pytorch(const T* v, T* code) const {
    transpose(v, parameters() / size_, out.channels, static_cast<int>(size_ / out.channels), code);
}

// run(first, count) for units of a group that stand one after the other: in PyTorch's order, where unit (c, p) has the
// number c positions + p, a group is a range, of which every position has a range of channels.
template <class T>
template <class Run>
void SampleNorm<T>::runs(int group, const Run& run) const {
    if (statistics_.groups == 1) {
        run(0L, out.units());
        return;
    }
    const long positions = out.positions(), count = out.units() / statistics_.groups;
    for (long position = 0; position < positions; ++position) {
        const auto channels_before = [&](long unit) { return (unit - position + positions - 1) / positions; };
        const long first = channels_before(group * count), last = channels_before((group + 1) * count);
        run(position * out.channels + first, last - first);
    }
}

// Over a group's units, by sums of every eighth: a processor forms them side by side, and always in this order.
template <class T>
template <class Term>
double SampleNorm<T>::mean(int group, const Term& term) const {
    double total = 0.0;
    runs(group, [&](long first, long count) {
        constexpr int kLanes = 8;
        double sums[kLanes] = {};
        long i = 0;
        for (; i + kLanes <= count; i += kLanes) {
            for (int lane = 0; lane < kLanes; ++lane) {
                sums[lane] += term(first + i + lane);
            }
        }
        for (; i < count; ++i) {
            sums[i % kLanes] += term(first + i);
        }
        for (const double sum : sums) {
            total += sum;
        }
    });
    return total / static_cast<double>(out.units() / statistics_.groups);
}

// u in place of a sample's z, and 1/s of its groups; false where one has variance 0 and eps is 0.
template <class T>
bool SampleNorm<T>::normalise(T* z, double* inverse) const {
    bool varies = true;
    for (int group = 0; group < statistics_.groups; ++group) {
        const double centre =
            statistics_.centred ? mean(group, [&](long i) { return static_cast<double>(z[i]); }) : 0.0;
        const double variance = mean(group, [&](long i) { return (z[i] - centre) * (z[i] - centre); });
        const double least =
            (sizeof(T) == 8 ? 1e-12 : 1e-5) * std::fabs(centre); // what rounding leaves of equal numbers
        varies = varies && (statistics_.eps > 0.0 || variance > least * least);
        inverse[group] = 1.0 / std::sqrt(variance + statistics_.eps);
        runs(group, [&](long first, long count) {
            for (long i = first; i < first + count; ++i) {
                z[i] = static_cast<T>((z[i] - centre) * inverse[group]);
            }
        });
    }
    return varies;
}

// result = P x for a sample, with x(unit).
template <class T>
template <class X>
void SampleNorm<T>::project(long sample, const X& x, T* result) const {
    const T* u = u_.get() + sample * out.units();
    for (int group = 0; group < statistics_.groups; ++group) {
        const double shift = statistics_.centred ? mean(group, x) : 0.0;
        const double tilt = mean(group, [&](long i) { return u[i] * x(i); });
        const double inverse = inverse_[sample * statistics_.groups + group];
        runs(group, [&](long first, long count) {
            for (long i = first; i < first + count; ++i) {
                result[i] = static_cast<T>((x(i) - shift - tilt * u[i]) * inverse);
            }
        });
    }
}

template class SampleNorm<float>;
template class SampleNorm<double>;

} // namespace fisherfield::finite_network
