// SPDX-License-Identifier: BSD-3-Clause
// The kernels of kernels.hpp for one instruction set, named by FISHERFIELD_PATH (CMakeLists.txt).
//
// The formulas are those of closed_form.hpp and smoothed_step.hpp, without branches: each lane computes what any of
// them needs and picks. All of them are written in q1, q2, |c| and the smaller of 1 - c and 1 + c, so that nothing
// cancels at c = -1 and c = 1.
#include <limits>
#include <type_traits>

#include "fisherfield/smoothed_step.hpp"
#include "kernel_table.hpp"
#include "lanes.hpp"

namespace fisherfield {

namespace {

using namespace elementary;

constexpr double kPi = 3.14159265358979323846, kInverseRoot2Pi = 0.39894228040143267794;
constexpr double kRoot2OverPi = 0.79788456080286535588, kTwoOverRootPi = 1.12837916709551257390;
constexpr double kRoot2 = 1.41421356237309504880;

// Two Gaussians of variances q1, q2 and correlation c; minus = 1 - c, plus = 1 + c.
struct GaussianPair {
    Lanes q1, q2, c, minus, plus, slope;

    FISHERFIELD_INLINE Lanes gap_to_end() const { return smaller(minus, plus); } // 1 - |c|
    FISHERFIELD_INLINE Lanes product() const { return q1 * q2; }
    // (sqrt q1 - sqrt q2)^2/2
    FISHERFIELD_INLINE Lanes apart(Lanes r) const {
        const Lanes d = q1 - q2;
        return d * d / (2.0 * (q1 + q2) + 4.0 * r);
    }
};

// The angle whose sine and cosine have the squares s2/(s2 + c2), c2/(s2 + c2), right to the last digits at both ends.
struct Angle {
    Mask flat; // the cosine is the smaller one
    Lanes small, small2, angle_small;

    FISHERFIELD_INLINE Angle(Lanes s2, Lanes c2, Lanes sum)
        : flat(c2 <= s2), small(0.0), small2(0.0), angle_small(0.0) {
        small2 = pick(flat, c2, s2) / sum;
        small = root(small2);
        angle_small = asin_small(small, small2);
    }
    // of unit sum, with the root of c2
    FISHERFIELD_INLINE Angle(Lanes s2, Lanes c2, Lanes cosine, int)
        : flat(c2 <= s2), small(0.0), small2(0.0), angle_small(0.0) {
        small2 = pick(flat, c2, s2);
        small = pick(flat, cosine, root(s2));
        angle_small = asin_small(small, small2);
    }
    FISHERFIELD_INLINE Lanes acute() const { return pick(flat, 0.5 * kPi - angle_small, angle_small); }
    FISHERFIELD_INLINE Lanes complement() const { return pick(flat, angle_small, 0.5 * kPi - angle_small); }
};

FISHERFIELD_INLINE Angle angle_of(const GaussianPair& p) { return {p.minus * p.plus, p.c * p.c, size(p.c), 0}; }

// E u+ w+ / sqrt(q1 q2) = (sin t - t cos t)/(2 pi) at -|c|, and |c|/2 more at +|c|
FISHERFIELD_INLINE Lanes relu_kernel(const GaussianPair& p) { return bend(p.gap_to_end()) + 0.5 * larger(p.c, 0.0); }
// E 1(u > 0) 1(w > 0) = (pi - t)/(2 pi)
FISHERFIELD_INLINE Lanes step_kernel(const GaussianPair& p) {
    const Lanes t = angle_of(p).acute();
    return pick(p.c < 0.0, t, kPi - t) * (0.5 / kPi);
}
// E sign u sign w = (2/pi) asin c
FISHERFIELD_INLINE Lanes sign_kernel(const GaussianPair& p) {
    return with_sign(angle_of(p).complement(), p.c) * (2.0 / kPi);
}

struct Linear {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return q; }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 1.0; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes) { return 1.0; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return p.c * root(p.product()); }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair&) { return 1.0; }
};

struct Relu {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return root(q) * kInverseRoot2Pi; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return 0.5 * q; }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return root(p.product()) * relu_kernel(p); }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return step_kernel(p); }
};

// slope x + (1 - slope) relu(x)
struct LeakyRelu {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes slope) { return (1.0 - slope) * (root(q) * kInverseRoot2Pi); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes slope) { return (0.5 + 0.5 * slope * slope) * q; }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes slope) { return 0.5 + 0.5 * slope; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes slope) { return 0.5 + 0.5 * slope * slope; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes jump = 1.0 - p.slope;
        return root(p.product()) * (p.slope * p.c + jump * jump * relu_kernel(p));
    }
    // by the half of phi that is odd in x where the slope is negative: nothing cancels in either form
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        const Lanes jump = 1.0 - p.slope, even = 0.5 * jump, odd = 0.5 + 0.5 * p.slope;
        const Angle angle = angle_of(p);
        const Lanes step = pick(p.c < 0.0, angle.acute(), kPi - angle.acute()) * (0.5 / kPi);
        const Lanes sign = with_sign(angle.complement(), p.c) * (2.0 / kPi);
        return pick(p.slope < 0.0, odd * odd + even * even * sign, p.slope + jump * jump * step);
    }
};

struct Abs {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return root(q) * kRoot2OverPi; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return q; }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes) { return 1.0; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        return root(p.product()) * (4.0 * bend(p.gap_to_end()) + size(p.c));
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return sign_kernel(p); }
};

struct Flat { // almost everywhere
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair&) { return 0.0; }
};

struct Step : Flat {
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return step_kernel(p); }
};

struct Sign : Flat {
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes, Lanes) { return 1.0; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return sign_kernel(p); }
};

// D = (1 + 2 q1)(1 + 2 q2) - 4 p^2, p = c sqrt(q1 q2):  E phi phi = (2/pi) atan(2 p/sqrt D), E phi' phi' = (4/pi)/sqrt
// D
struct Erf {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) {
        const Lanes d = 1.0 + 4.0 * q, p2 = 4.0 * q * q;
        return Angle(d, p2, d + p2).complement() * (2.0 / kPi);
    }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return kTwoOverRootPi / root(1.0 + 2.0 * q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return (4.0 / kPi) / root(1.0 + 4.0 * q); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes a = (2.0 * p.q1) * (2.0 * p.q2), p2 = a * (p.c * p.c);
        const Lanes d = determinant(p, a);
        return with_sign(Angle(d, p2, d + p2).complement(), p.c) * (2.0 / kPi);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        return (4.0 / kPi) / root(determinant(p, (2.0 * p.q1) * (2.0 * p.q2)));
    }
    static FISHERFIELD_INLINE Lanes determinant(const GaussianPair& p, Lanes a) {
        return rounded(a * (p.minus * p.plus)) + (1.0 + rounded(2.0 * (p.q1 + p.q2)));
    }
};

// E sin sin = [e^-m - e^-s]/2, E cos cos = [e^-m + e^-s]/2,  m, s = (sqrt q1 - sqrt q2)^2/2 + sqrt(q1 q2) (1 -+ c)
struct Sin {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return 0.5 * one_minus_exp(2.0 * q); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return elementary::exp(-0.5 * q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) {
        return 0.5 + 0.5 * elementary::exp(-2.0 * q);
    }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes r = root(p.product()), larger_one = elementary::exp(-(p.apart(r) + r * p.gap_to_end()));
        return with_sign(0.5 * larger_one * one_minus_exp(2.0 * r * size(p.c)), p.c);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        const Lanes r = root(p.product()), larger_one = elementary::exp(-(p.apart(r) + r * p.gap_to_end()));
        return larger_one * (0.5 + 0.5 * elementary::exp(-2.0 * r * size(p.c)));
    }
};

struct Cos {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes slope) { return Sin::slope_mean(q, slope); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes slope) { return Sin::slope_second_moment(q, slope); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes slope) { return Sin::second_moment(q, slope); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return Sin::slope_covariance(p); }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return Sin::covariance(p); }
};

// E e^u e^w = exp((q1 + q2)/2 + p)
struct Exp {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return elementary::exp(0.5 * q); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return elementary::exp(2.0 * q); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return elementary::exp(0.5 * q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return elementary::exp(2.0 * q); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes r = root(p.product());
        return elementary::exp(p.apart(r) + r * p.plus);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return covariance(p); }
};

// exp(-x^2/2); D = (1 + q1)(1 + q2) - p^2:  E phi phi = D^(-1/2), E phi' phi' = p D^(-3/2)
struct Gaussian {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return 1.0 / root(1.0 + q); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return 1.0 / root(1.0 + 2.0 * q); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) {
        const Lanes d = 1.0 + 2.0 * q;
        return q / (d * root(d));
    }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) { return 1.0 / root(determinant(p)); }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        const Lanes d = determinant(p);
        return p.c * root(p.product()) / (d * root(d));
    }
    static FISHERFIELD_INLINE Lanes determinant(const GaussianPair& p) {
        return rounded(p.product() * (p.minus * p.plus)) + (1.0 + (p.q1 + p.q2));
    }
};

// sqrt(2) sin(sqrt(2) x + pi/4):  E phi phi = exp(-(q1 + q2 - 2 p)), and twice that for phi'
struct Rbf {
    static constexpr bool squares_c = false;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return elementary::exp(-q); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes, Lanes) { return 1.0; }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return kRoot2 * elementary::exp(-q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes, Lanes) { return 2.0; }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes r = root(p.product());
        return elementary::exp(-2.0 * (p.apart(r) + r * p.minus));
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return 2.0 * covariance(p); }
};

// x Phi(x). With p, D as for exp(-x^2/2), E = (1 + q1)(1 + q2), h = (2 + q1 + q2)/E and t = acos(p/sqrt E), by parts:
//     2 pi E phi phi   = [q1 q2 - p^2 + p^2 h]/sqrt D + p (pi - t)
//     2 pi E phi' phi' = pi - t + p (h + 1/D)/sqrt D
// Close to p = -sqrt E, with s = pi - t and w = q1 q2 - p^2, these do not cancel:
//     2 pi E phi phi   = [1 - D h + D (1 - s/tan s)]/sqrt D
//     2 pi E phi' phi' = s - sin s cos s + [(w - 1) sin s cos s - cos s/sin s]/D
struct Gelu {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return kInverseRoot2Pi * q / root(1.0 + q); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return covariance(equal(q)); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return slope_covariance(equal(q)); }
    static FISHERFIELD_INLINE GaussianPair equal(Lanes q) { return {q, q, 1.0, 0.0, 2.0, 0.0}; }

    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Lanes a = p.product(), length = size(p.c) * root(a), p2 = a * (p.c * p.c), d = Gaussian::determinant(p);
        const Lanes e = d + p2, h = (2.0 + (p.q1 + p.q2)) / e, inverse = 1.0 / root(d);
        const Angle angle(d, p2, e);
        const Lanes s = angle.acute();
        const Lanes first = (a * (p.minus * p.plus) + p2 * h) * inverse;
        const Lanes common = pick(p.c < 0.0, first - length * s, first + length * (kPi - s));
        // 1 - s/tan s = (sin s - s cos s)/sin s with sin^2 s = D/E
        const Lanes cosine = root(p2 / e), x = angle.small2 / (1.0 + cosine);
        const Lanes steep = ((1.0 - d * h) + d * (2.0 * kPi) * bend(x) / angle.small) * inverse;
        const Mask near_the_end = (p.c < 0.0) & ~angle.flat;
        return pick(near_the_end, steep, common) * (0.5 / kPi);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        const Lanes a = p.product(), w = a * (p.minus * p.plus), p2 = a * (p.c * p.c), d = Gaussian::determinant(p);
        const Lanes e = d + p2, h = (2.0 + (p.q1 + p.q2)) / e, pair = p.c * root(a) * (h + 1.0 / d) / root(d);
        const Angle angle(d, p2, e);
        const Lanes s = angle.acute();
        const Lanes common = pick(p.c < 0.0, s, kPi - s) + pair;
        const Lanes sine = angle.small, sine2 = angle.small2, cosine = root(p2 / e), both = sine * cosine;
        const Lanes bent = s * sine2 - cosine * ((2.0 * kPi) * bend(sine2 / (1.0 + cosine))); // s - sin s cos s
        const Lanes steep = bent + (both * (w - 1.0) - cosine / sine) / d;
        return pick((p.c < 0.0) & ~angle.flat, steep, common) * (0.5 / kPi);
    }
};

// Smoothed steps (smoothed_step.hpp): sums over pairs of noises' variances a, b. With A = q1 + a, B = q2 + b, p = c
// sqrt(q1 q2), D = A B - p^2 and the acute angle t of tan t = sqrt D/|p|, whose cosine and squared sine are
//
//     |p|/sqrt(A B)      D/(A B) = [(q1 q2 (1 - c^2) + a q2)/A + b]/B
//
// all roots but those of D belong to a or to b alone.
constexpr int kNoises = smoothed_step::kLogisticNodes;

struct Noises {
    double variance[kNoises], weight[kNoises];
};

// Made by the compiler: nothing that other files share is called from this one.
constexpr Noises logistic_noises(double factor) {
    Noises out{};
    for (int i = 0; i < kNoises; ++i) {
        out.variance[i] = factor * smoothed_step::logistic(i).variance;
        out.weight[i] = smoothed_step::logistic(i).weight;
    }
    return out;
}

constexpr Noises kLogistic = logistic_noises(1.0), kHalfLogistic = logistic_noises(0.25);

FISHERFIELD_INLINE GaussianPair same(Lanes q) { return {q, q, 1.0, 0.0, 2.0, 0.0}; }

// sum of w_i w_j term(i, j). Where q1 = q2 terms are symmetric and the lower ones count twice, whatever the neighbours.
template <class Term>
FISHERFIELD_INLINE Lanes sum_over_pairs(const GaussianPair& p, const Term& term) {
    constexpr const double (&w)[kNoises] = kLogistic.weight;
    const Mask differ = (p.q1 < p.q2) | (p.q2 < p.q1);
    const bool some_differ = any_negative(differ);
    Lanes diagonal = 0.0, lower = 0.0, upper = 0.0;
    for (int i = 0; i < kNoises; ++i) {
        Lanes left = 0.0, right = 0.0;
        for (int j = 0; j < i; ++j) {
            left = left + w[j] * term(i, j);
        }
        lower = lower + w[i] * left;
        diagonal = diagonal + (w[i] * w[i]) * term(i, i);
        if (some_differ) {
            for (int j = i + 1; j < kNoises; ++j) {
                right = right + w[j] * term(i, j);
            }
            upper = upper + w[i] * right;
        }
    }
    return diagonal + (lower + pick(differ, upper, lower));
}

template <const Noises& noises>
struct Determinants {
    Lanes A[kNoises], rest[kNoises]; // D = rest + b A

    FISHERFIELD_INLINE explicit Determinants(const GaussianPair& p) {
        const Lanes e = p.product() * (p.minus * p.plus);
        for (int i = 0; i < kNoises; ++i) {
            A[i] = p.q1 + noises.variance[i];
            rest[i] = e + noises.variance[i] * p.q2;
        }
    }
    FISHERFIELD_INLINE Lanes operator()(int i, int j) const { return rest[i] + noises.variance[j] * A[i]; }
};

template <const Noises& noises>
struct Triangles {
    Lanes length, inverse_root_a[kNoises], inverse_root_b[kNoises]; // |p|, A^(-1/2), B^(-1/2)
    Lanes inverse_b[kNoises], head[kNoises];                        // sin^2 t = (head + b)/B

    FISHERFIELD_INLINE explicit Triangles(const GaussianPair& p) : length(size(p.c) * root(p.product())) {
        const Lanes e = p.product() * (p.minus * p.plus);
        for (int i = 0; i < kNoises; ++i) {
            const double v = noises.variance[i];
            const Lanes a = p.q1 + v, b = p.q2 + v;
            inverse_root_a[i] = inverse_root(a);
            inverse_root_b[i] = inverse_root(b);
            inverse_b[i] = 1.0 / b;
            head[i] = (e + v * p.q2) / a;
        }
    }
    FISHERFIELD_INLINE Lanes cosine(int i, int j) const { return (length * inverse_root_a[i]) * inverse_root_b[j]; }
    FISHERFIELD_INLINE Lanes sine2(int i, int j) const { return (head[i] + noises.variance[j]) * inverse_b[j]; }
    // t, or pi/2 - t: from the smaller one of sine and cosine
    template <bool complement>
    FISHERFIELD_INLINE Lanes angle(int i, int j) const {
        const Lanes c = cosine(i, j), c2 = c * c, s2 = sine2(i, j);
        const Mask flat = c2 <= 0.5;
        const Lanes small2 = pick(flat, c2, s2), small = asin_small(pick(flat, c, root_of_fraction(s2)), small2);
        const Lanes other = 0.5 * kPi - small;
        return complement ? pick(flat, small, other) : pick(flat, other, small);
    }
    // sin t - t cos t over 2 pi
    FISHERFIELD_INLINE Lanes bent(int i, int j) const { return bend(sine2(i, j) / (1.0 + cosine(i, j))); }
};

template <const Noises& noises>
FISHERFIELD_INLINE Lanes mean_density(Lanes q) { // E of the noise's density
    Lanes sum = 0.0;
    for (int i = 0; i < kNoises; ++i) {
        sum = sum + noises.weight[i] * inverse_root(q + noises.variance[i]);
    }
    return kInverseRoot2Pi * sum;
}
// E of both noises' densities: 1/(2 pi sqrt D)
template <const Noises& noises>
FISHERFIELD_INLINE Lanes pair_density(const GaussianPair& p) {
    const Determinants<noises> d(p);
    return (0.5 / kPi) * sum_over_pairs(p, [&](int i, int j) { return inverse_root(d(i, j)); });
}

// E sign(x + n):  (2/pi) asin(p/sqrt(A B))
struct Tanh {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.0; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return 2.0 * mean_density<kHalfLogistic>(q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return slope_covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Triangles<kHalfLogistic> at(p);
        const Lanes sum = sum_over_pairs(p, [&](int i, int j) { return at.template angle<true>(i, j); });
        return with_sign((2.0 / kPi) * sum, p.c);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        return 4.0 * pair_density<kHalfLogistic>(p);
    }
};

// E step(x + n):  t/(2 pi) where c < 0, else (pi - t)/(2 pi)
struct Sigmoid {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes q, Lanes) { return mean_density<kLogistic>(q); }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return slope_covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Triangles<kLogistic> at(p);
        const Lanes sum = sum_over_pairs(p, [&](int i, int j) { return at.template angle<false>(i, j); });
        return pick(p.c < 0.0, sum, kPi - sum) * (0.5 / kPi);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return pair_density<kLogistic>(p); }
};

// E relu(x + n):  sqrt(A B) (sin t - t cos t)/(2 pi), and p/2 more where c > 0
struct Softplus {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) {
        Lanes sum = 0.0;
        for (int i = 0; i < kNoises; ++i) {
            sum = sum + kLogistic.weight[i] * root(q + kLogistic.variance[i]);
        }
        return kInverseRoot2Pi * sum;
    }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return slope_covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Triangles<kLogistic> at(p);
        Lanes root_a[kNoises], root_b[kNoises];
        for (int i = 0; i < kNoises; ++i) {
            root_a[i] = root(p.q1 + kLogistic.variance[i]);
            root_b[i] = root(p.q2 + kLogistic.variance[i]);
        }
        const Lanes sum = sum_over_pairs(p, [&](int i, int j) { return (root_a[i] * root_b[j]) * at.bent(i, j); });
        return sum + pick(p.c > 0.0, 0.5 * at.length, 0.0);
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) { return Sigmoid::covariance(p); }
};

// x E step(x + n). With h = a/A + b/B, w = q1 q2 (1 - c^2):
//     2 pi E phi phi   = p (pi - t) + (w + p^2 h)/sqrt D,    -|p| t in front where c < 0
//                      = a b/sqrt D - h sqrt D + sqrt(A B) (sin t - t cos t)   where c < 0: whichever adds up less
//     2 pi E phi' phi' = pi - t + p (h + a b/D)/sqrt D,      t in front where c < 0
struct Silu {
    static constexpr bool squares_c = true;
    static FISHERFIELD_INLINE Lanes mean(Lanes q, Lanes) { return q * mean_density<kLogistic>(q); }
    static FISHERFIELD_INLINE Lanes second_moment(Lanes q, Lanes) { return covariance(same(q)); }
    static FISHERFIELD_INLINE Lanes slope_mean(Lanes, Lanes) { return 0.5; }
    static FISHERFIELD_INLINE Lanes slope_second_moment(Lanes q, Lanes) { return slope_covariance(same(q)); }

    struct Shares {
        Lanes a[kNoises], b[kNoises]; // a/A, b/B
        FISHERFIELD_INLINE explicit Shares(const GaussianPair& p) {
            for (int i = 0; i < kNoises; ++i) {
                const double v = kLogistic.variance[i];
                a[i] = v / (p.q1 + v);
                b[i] = v / (p.q2 + v);
            }
        }
        FISHERFIELD_INLINE Lanes operator()(int i, int j) const { return a[i] + b[j]; }
    };

    static FISHERFIELD_INLINE Lanes covariance(const GaussianPair& p) {
        const Triangles<kLogistic> at(p);
        const Determinants<kLogistic> determinant(p);
        const Shares share(p);
        const Lanes w = p.product() * (p.minus * p.plus), p2 = at.length * at.length;
        const Mask negative = p.c < 0.0;
        const Lanes turn = pick(negative, 0.0, kPi);
        const bool some_negative = any_negative(negative);
        return (0.5 / kPi) * sum_over_pairs(p, [&](int i, int j) {
                   const Lanes d = determinant(i, j), inverse = inverse_root(d), h = share(i, j);
                   const Lanes t = at.template angle<false>(i, j), tail = (w + p2 * h) * inverse;
                   const Lanes first = at.length * (turn - t) + tail;
                   if (!some_negative) {
                       return first;
                   }
                   const Lanes ab = kLogistic.variance[i] * kLogistic.variance[j];
                   const Lanes one = ab * inverse, two = h * (d * inverse);
                   const Lanes three = (2.0 * kPi) * at.bent(i, j) * (determinant.A[i] * at.inverse_root_a[i]) *
                                       ((p.q2 + kLogistic.variance[j]) * at.inverse_root_b[j]);
                   const Mask less = (one + two + three < at.length * t + tail) & negative;
                   return pick(less, one - two + three, first);
               });
    }
    static FISHERFIELD_INLINE Lanes slope_covariance(const GaussianPair& p) {
        const Triangles<kLogistic> at(p);
        const Determinants<kLogistic> determinant(p);
        const Shares share(p);
        const Lanes angle = sum_over_pairs(p, [&](int i, int j) { return at.template angle<false>(i, j); });
        const Lanes rise = at.length * sum_over_pairs(p, [&](int i, int j) {
                               const Lanes inverse = inverse_root(determinant(i, j));
                               const double ab = kLogistic.variance[i] * kLogistic.variance[j];
                               return (share(i, j) + ab * (inverse * inverse)) * inverse;
                           });
        return pick(p.c < 0.0, angle - rise, (kPi - angle) + rise) * (0.5 / kPi);
    }
};

FISHERFIELD_INLINE Mask bits_of(double x) { return every_lane(__builtin_bit_cast(std::int64_t, x)); }

// Gathers in its sign bits whether a number lay outside its range, by the bits of both as whole numbers: NaN and
// infinity are larger than any number, and what has a sign has it already. Integer units are idle otherwise.
struct Watch {
    Mask outside = every_lane(0);

    FISHERFIELD_INLINE void between_0_and(double most, Lanes x) {
        outside = outside | bits(x) | (bits_of(most) - bits(x));
    }
    FISHERFIELD_INLINE void at_least(double least, Lanes x) { outside = outside | (bits(x) - bits_of(least)); }
    FISHERFIELD_INLINE void zero_or_at_least(double least, Lanes x) {
        outside = outside | ((bits(x) - bits_of(least)) & ~(bits(x) - every_lane(1)));
    }
};

template <class Formula, Integral which, bool one_minus_c>
bool block(const double* const* operands, int count, double* out) {
    constexpr bool two = which >= Integral::covariance;
    Watch watch;
    for (int i = 0; i < count; i += kLanes) {
        const Lanes q1(operands[0] + i);
        watch.between_0_and(kLargest, q1);
        Lanes slope = 0.0, value = 0.0;
        if constexpr (std::is_same_v<Formula, LeakyRelu>) {
            slope = Lanes(operands[two ? 3 : 1] + i);
            watch.between_0_and(kLargest, size(slope));
        }
        if constexpr (two) {
            const Lanes q2(operands[1] + i), c(operands[2] + i);
            const GaussianPair p = one_minus_c ? GaussianPair{q1, q2, 1.0 - c, c, 2.0 - c, slope}
                                               : GaussianPair{q1, q2, c, 1.0 - c, 1.0 + c, slope};
            watch.between_0_and(kLargest, q2);
            watch.at_least(kLeast, q1 * q2);
            watch.between_0_and(1.0, p.gap_to_end());
            if constexpr (Formula::squares_c && !one_minus_c) {
                watch.zero_or_at_least(kLeastCorrelation, size(c));
            }
            value = which == Integral::covariance ? Formula::covariance(p) : Formula::slope_covariance(p);
        } else {
            watch.at_least(kLeast, q1);
            value = which == Integral::mean            ? Formula::mean(q1, slope)
                    : which == Integral::second_moment ? Formula::second_moment(q1, slope)
                    : which == Integral::slope_mean    ? Formula::slope_mean(q1, slope)
                                                       : Formula::slope_second_moment(q1, slope);
        }
        if constexpr (std::is_same_v<Formula, Exp>) {
            watch.between_0_and(std::numeric_limits<double>::max(), value);
        }
        value.store(out + i);
    }
    return !any_negative(watch.outside);
}

template <class Formula>
constexpr KernelRow row(Kind kind) {
    return {kind,
            {&block<Formula, Integral::mean, false>, &block<Formula, Integral::second_moment, false>,
             &block<Formula, Integral::slope_mean, false>, &block<Formula, Integral::slope_second_moment, false>,
             &block<Formula, Integral::covariance, false>, &block<Formula, Integral::slope_covariance, false>},
            {&block<Formula, Integral::covariance, true>, &block<Formula, Integral::slope_covariance, true>}};
}

constexpr KernelRow kTable[] = {
    row<Linear>(Kind::linear),     row<Relu>(Kind::relu),         row<LeakyRelu>(Kind::leaky_relu),
    row<Abs>(Kind::abs),           row<Step>(Kind::step),         row<Sign>(Kind::sign),
    row<Erf>(Kind::erf),           row<Sin>(Kind::sin),           row<Cos>(Kind::cos),
    row<Exp>(Kind::exp),           row<Gaussian>(Kind::gaussian), row<Rbf>(Kind::rbf),
    row<Gelu>(Kind::gelu),         row<Tanh>(Kind::tanh),         row<Sigmoid>(Kind::sigmoid),
    row<Softplus>(Kind::softplus), row<Silu>(Kind::silu)};

} // namespace

KernelTable kernels::FISHERFIELD_PATH::kernel_table() { return {kTable, sizeof kTable / sizeof kTable[0]}; }

} // namespace fisherfield
