// SPDX-License-Identifier: BSD-3-Clause
#include "matrix.hpp"

#include <cmath>

#include "simd.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr size_t kBlock = 1 << 14; // entries a thread takes at a time

// body(begin, end) over blocks of `count` entries.
template <class Body>
void blocks(size_t count, Body&& body) {
    parallel_for(static_cast<long>((count + kBlock - 1) / kBlock),
                 [&](long block) { body(block * kBlock, std::min(count, (block + 1) * kBlock)); });
}

} // namespace

double largest(const std::vector<double>& entries) {
    std::vector<double> sizes((entries.size() + kBlock - 1) / kBlock);
    blocks(entries.size(), [&](size_t begin, size_t end) {
        double size = 0.0;
        for (size_t i = begin; i < end; ++i) {
            size = std::max(size, std::fabs(entries[i]));
        }
        sizes[begin / kBlock] = size;
    });
    return sizes.empty() ? 0.0 : *std::max_element(sizes.begin(), sizes.end());
}

FISHERFIELD_SIMD void add_multiple(double* sum, double factor, const double* from, long step, long count) {
    if (step == 1) {
        for (long i = 0; i < count; ++i) {
            sum[i] += factor * from[i];
        }
    } else {
        for (long i = 0; i < count; ++i) {
            sum[i] += factor * from[i * step];
        }
    }
}

void combine(std::initializer_list<Term> terms, Scaled constant, Matrix* out) {
    CommonExponent common;
    common.include(constant);
    std::vector<Term> present; // a matrix of zeros has no size to choose an exponent by
    for (const Term& term : terms) {
        const Scaled size = term.coefficient * Scaled(largest(term.matrix->entries), term.matrix->exponent);
        common.include(size);
        if (!is_zero(size)) {
            present.push_back(term);
        }
    }
    const int exponent = common.value();
    const double add = rescaled(constant, exponent);
    out->entries.resize(terms.begin()->matrix->entries.size());
    blocks(out->entries.size(), [&](size_t begin, size_t end) {
        std::vector<double> sum(end - begin, add);
        for (const Term& term : present) {
            const Scaled& c = term.coefficient;
            const double* entries = term.matrix->entries.data() + begin;
            int steps = c.e + term.matrix->exponent - exponent;
            std::vector<double> raised; // entries so small that a factor for them is beyond the range of float64
            for (; steps > 1; --steps) {
                raised.resize(sum.size());
                std::transform(entries, entries + sum.size(), raised.begin(), [](double x) { return x * Scaled::kUp; });
                entries = raised.data();
            }
            add_multiple(sum.data(), rescaled({c.m, steps}, 0), entries, 1, static_cast<long>(sum.size()));
        }
        std::copy(sum.begin(), sum.end(), out->entries.begin() + static_cast<std::ptrdiff_t>(begin));
    });
    out->exponent = exponent;
}

Scaled diagonal_mean(const Matrix& matrix, long positions) {
    const long step = matrix.diagonal ? 1 : positions + 1;
    double sum = 0.0;
    for (long a = 0; a < positions; ++a) {
        sum += matrix.entries[a * step];
    }
    return Scaled(sum / static_cast<double>(positions), matrix.exponent);
}

} // namespace fisherfield
