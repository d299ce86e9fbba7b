// SPDX-License-Identifier: BSD-3-Clause
#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/quadrature.hpp"
#include "one_sample.hpp"

namespace fisherfield {

namespace {

constexpr double kPanel = 1.2; // as for the bulk's neurons: fourth powers of phi and phi'

// A mesh with panels at the turns of phi, which lie at `at(turn)` deviations; `spread`: how far y moves in one.
template <class F>
Mesh mesh_of(const Activation& activation, double spread, F&& at) {
    const quadrature::Turns turns(activation);
    Mesh mesh(kRange, kPanel, turns.growth);
    for (int i = 0; i < turns.count; ++i) {
        const double place = at(turns.at[i]), base = 0.5 * turns.scale / spread;
        if (std::isfinite(place)) {
            activation.kink_count > 0 ? mesh.kink(place, base) : mesh.turn(place, base);
        }
    }
    return mesh;
}

// add(u, weight, phi, phi') at y(u).
template <class Y, class F>
void sweep(const Mesh& mesh, const Activation& activation, Y&& y, F&& add) {
    mesh.integrate(0.0, [&](const double* u, const double* weight, int n) {
        double x[kBatch] = {}, value[kBatch], slope[kBatch];
        for (int i = 0; i < n; ++i) {
            x[i] = y(u[i]);
        }
        evaluate(activation, x, value, slope, n);
        for (int i = 0; i < n; ++i) {
            add(u[i], weight[i], value[i], slope[i]);
        }
    });
}

} // namespace

SampleMoments sample_moments(const Activation& activation, double scale, double shift) {
    const Mesh mesh = mesh_of(activation, std::fabs(scale), [&](double turn) { return (turn - shift) / scale; });
    const auto y = [&](double u) { return scale * u + shift; };
    SampleMoments m{};
    sweep(mesh, activation, y, [&](double, double weight, double value, double slope) {
        m.mean += weight * value;
        m.mean_slope += weight * slope;
    });
    sweep(mesh, activation, y, [&](double u, double weight, double value, double slope) {
        const double f = (value - m.mean) * (value - m.mean), q = value * value, d = slope * slope;
        const double bend = 0.5 * weight * (u * u - 1.0); // d/d log v of E F(sqrt(v) u) is E F (u^2 - 1)/2
        m.variance += weight * f;
        m.square += weight * q;
        m.slope += weight * d;
        m.forward += bend * f;
        m.read += bend * q;
        m.backward += bend * d;
        m.of_variance += weight * f * f;
        m.of_square += weight * q * q;
        m.of_slope += weight * d * d;
        m.variance_square += weight * f * q;
        m.variance_slope += weight * f * d;
        m.square_slope += weight * q * d;
    });
    const double f = m.variance, q = m.square, d = m.slope;
    m.forward /= f;
    m.read /= q;
    m.backward /= d;
    m.of_variance = m.of_variance / (f * f) - 1.0;
    m.of_square = m.of_square / (q * q) - 1.0;
    m.of_slope = 3.0 * m.of_slope / (d * d) - 1.0; // E g^4 = 3
    m.variance_square = m.variance_square / (f * q) - 1.0;
    m.variance_slope = m.variance_slope / (f * d) - 1.0;
    m.square_slope = m.square_slope / (q * d) - 1.0;
    return m;
}

SampleLengths sample_lengths(const Activation& activation, double scale, double shift, double mean, double length,
                             double share) {
    const double root = std::sqrt(length);
    const auto y = [&](double u) {
        const double h = root * u;
        return scale * h / std::sqrt(1.0 + share * (h * h - 1.0)) + shift;
    };
    // Where h/sqrt(1 + share (h^2 - 1)) is t; nowhere beyond 1/sqrt(share).
    const auto at = [&](double turn) {
        const double t = (turn - shift) / scale, rest = 1.0 - share * t * t;
        return rest > 0.0 ? t * std::sqrt((1.0 - share) / rest) / root : NAN;
    };
    const Mesh mesh = mesh_of(activation, std::fabs(scale) * root, at);
    SampleLengths out{};
    sweep(mesh, activation, y, [&](double, double weight, double value, double slope) {
        out.variance += weight * (value - mean) * (value - mean);
        out.square += weight * value * value;
        out.slope += weight * slope * slope;
    });
    return out;
}

} // namespace fisherfield
