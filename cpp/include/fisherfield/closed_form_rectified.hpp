// SPDX-License-Identifier: BSD-3-Clause
// Closed forms of rectified monomials, x^n for x > 0.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form_rays.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

namespace closed_form {

// Positive Gauss-Legendre nodes of order 64 and their weights, by mpmath with 40 digits: exact to rounding for
// (cos x)^64 over [-pi, pi].
inline constexpr int kHalfNodes = 32;

FISHERFIELD_HD inline double half_node(int i) {
    constexpr double nodes[kHalfNodes] = {
        0.024350292663424432509, 0.07299312178779903945, 0.12146281929612055447, 0.16964442042399281804,
        0.21742364374000708415,  0.26468716220876741637, 0.31132287199021095616, 0.35722015833766811595,
        0.4022701579639916037,   0.44636601725346408798, 0.48940314570705295748, 0.53127946401989454566,
        0.57189564620263403428,  0.61115535517239325025, 0.64896547125465733986, 0.68523631305423324256,
        0.71988185017161082685,  0.75281990726053189661, 0.78397235894334140761, 0.81326531512279755974,
        0.84062929625258036275,  0.86599939815409281976, 0.88931544599511410585, 0.91052213707850280576,
        0.92956917213193957582,  0.94641137485840281606, 0.96100879965205371892, 0.97332682778991096374,
        0.98333625388462595693,  0.99101337147674432074, 0.99634011677195527935, 0.99930504173577213946};
    return nodes[i];
}

FISHERFIELD_HD inline double half_weight(int i) {
    constexpr double weights[kHalfNodes] = {
        0.048690957009139720383, 0.048575467441503426935,  0.04834476223480295717,   0.047999388596458307728,
        0.047540165714830308662, 0.046968182816210017325,  0.046284796581314417296,  0.04549162792741814448,
        0.04459055816375656306,  0.043583724529323453377,  0.042473515123653589007,  0.04126256324262352861,
        0.039953741132720341387, 0.038550153178615629129,  0.03705512854024004604,   0.035472213256882383811,
        0.033805161837141609392, 0.032057928354851553585,  0.030234657072402478868,  0.028339672614259483228,
        0.026377469715054658672, 0.024352702568710873338,  0.022270173808383254159,  0.020134823153530209372,
        0.017951715775697343085, 0.015726030476024719322,  0.013463047896718642598,  0.011168139460131128819,
        0.008846759826363947723, 0.0065044579689783628561, 0.0041470332605624676353, 0.0017832807216964329473};
    return weights[i];
}

// Rectified monomials u_+^n at unit variances, in polar coordinates (Cho and Saul 2009), t = pi - angle of u and w:
//
//     E u_+^n w_+^n = n!/(2 pi) int_0^t (cos x - cos t)^n dx,    cos x - cos t = 2 sin((t + x)/2) sin((t - x)/2).
//
// Nothing is subtracted, so what is left near c = -1 keeps all its digits. This is that integral over (1 + c)^n.
FISHERFIELD_HD_APART inline double rectified_integral(const Angle& angle, int n) {
    const double t = angle.supplement(), top = std::pow(std::sin(0.5 * t), 2); // (1 + c)/2
    double sum = 0.0;
    for (int i = 0; i < kHalfNodes && t > 0.0; ++i) {
        const double x = t * half_node(i);
        sum += half_weight(i) * std::pow(std::sin(0.5 * (t + x)) * std::sin(0.5 * (t - x)) / top, n);
    }
    return t * sum;
}

// The same integral at c = 1 less that at c, n >= 1, over 2^n: [0, t] gives (1 + cos x)^n - (cos x + c)^n, of which
// a^n - b^n = a^n [1 - (1 - (a - b)/a)^n], and [t, pi] gives (1 + cos x)^n.
FISHERFIELD_HD_APART inline Scaled rectified_difference(const Angle& angle, Scaled one_minus_c, int n) {
    const double t = angle.supplement(), rest = one_minus_c.value();
    Scaled near(0.0), far(0.0);
    for (int i = 0; i < kHalfNodes; ++i) {
        const double a = std::pow(std::cos(0.5 * t * half_node(i)), 2); // (1 + cos x)/2
        const double lost = std::fmin(0.5 * rest / a, 1.0);
        // (a - b)/a is below 1e-290 where (1 - c) is no float64 any more
        const Scaled share = rest > 1e-290 ? Scaled(-std::expm1(n * std::log1p(-lost))) : one_minus_c * (0.5 * n / a);
        near = near + share * (half_weight(i) * std::pow(a, n));
        // the rest of the circle from its far end: 1 + cos(pi - y) = 2 sin^2(y/2)
        const Scaled y = angle.angle() * half_node(i);
        const Scaled sine = y < Scaled(1e-8) ? y * 0.5 : Scaled(std::sin(0.5 * y.value()));
        far = far + power(sine * sine, n) * half_weight(i);
    }
    return near * t + far * angle.angle();
}

FISHERFIELD_HD inline double factorial(int n) { return std::round(std::tgamma(n + 1.0)); }

FISHERFIELD_HD_APART inline Covariance rectified_monomial(int n, Scaled r, const Correlation& correlation) {
    const Angle angle(correlation);
    const Scaled above(1.0 + correlation.c);
    const double f = factorial(n) / (2.0 * kPi), slope_f = static_cast<double>(n) * n * factorial(n - 1) / (2.0 * kPi);
    const Scaled rn = power(r, n), slope_rn = power(r, n - 1);
    Covariance out;
    out.value = rn * power(above, n) * (f * rectified_integral(angle, n));
    out.slope = slope_rn * power(above, n - 1) * (slope_f * rectified_integral(angle, n - 1));
    out.difference = rn * power(2.0, n) * rectified_difference(angle, correlation.one_minus_c, n) * f;
    out.slope_difference =
        slope_rn * power(2.0, n - 1) * rectified_difference(angle, correlation.one_minus_c, n - 1) * slope_f;
    out.slope_pair = out.value * (static_cast<double>(n) * n); // u phi'(u) = n phi(u)
    relative_errors(&out, 16.0 + 4.0 * n);
    return out;
}

// E z_+^n = (n - 1)!!/2 for even n, (n - 1)!!/sqrt(2 pi) for odd n.
FISHERFIELD_HD inline Scaled half_moment(int n) {
    Scaled product = n % 2 == 0 ? 0.5 : formulas::kInvSqrt2Pi;
    for (int k = n - 1; k > 1; k -= 2) {
        product = product * k;
    }
    return product;
}

FISHERFIELD_HD_APART inline Moments rectified_monomial(int n, Scaled g) {
    const Scaled gn = power(g, n), slope_gn = power(g, n - 1) * n;
    Moments out;
    out.mean = gn * half_moment(n);
    out.second = gn * gn * half_moment(2 * n);
    out.variance = out.second - out.mean * out.mean; // the mean's part is at most 1/6 of it for n >= 2
    out.slope_mean = slope_gn * half_moment(n - 1);
    out.slope_second = slope_gn * slope_gn * half_moment(2 * n - 2);
    out.slope_variance = out.slope_second - out.slope_mean * out.slope_mean;
    out.u_slope = slope_gn * half_moment(n);
    out.u2_slope2 = slope_gn * slope_gn * half_moment(2 * n);
    relative_errors(&out, 16.0 + 4.0 * n);
    return out;
}

} // namespace closed_form

} // namespace fisherfield
