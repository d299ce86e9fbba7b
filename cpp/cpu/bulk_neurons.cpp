// SPDX-License-Identifier: BSD-3-Clause
// What the bulk's equations take of a network: the recursions of q and q_tilde, and the moments of its neurons.
#include <algorithm>
#include <cmath>

#include "bulk.hpp"
#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

namespace {

struct NodeWeight {
    double at, weight;
};

// Gauss-Hermite rules of 32 and 16 points for N(0, 1), the positive half of them; mpmath, 60 digits.
constexpr NodeWeight kMeans[] = {
    {0.27554641923027580801, 0.21170556988047931757},   {0.82728490377976519178, 0.15653899375759844489},
    {1.3809801992721441616, 0.08534480827208076015},    {1.9380049059257173503, 0.034109847726092050511},
    {2.4998404151873952454, 0.0099034617023205918768},  {3.0681351690131213054, 0.0020620510513078847176},
    {3.6447812498808331112, 0.00030255702581706249216}, {4.2320211099954097951, 0.000030559803060896301541},
    {4.8326046132444886126, 2.0596221039534288761e-6},  {5.45003327362342807, 8.8812907131058950894e-8},
    {6.088964309076986814, 2.312518412074240541e-9},    {6.7559308305407047448, 3.3475012398012070049e-11},
    {7.4607557541215187579, 2.3780648557778086759e-13}, {8.2197287653822454014, 6.7552902236701187406e-16},
    {9.0643992107024061748, 5.2084495919608612944e-19}, {10.077422674229465946, 4.1246074890182693364e-23},
};
constexpr NodeWeight kGradients[] = {
    {0.38676060450055734772, 0.28656852123801212258},   {1.1638291005549647742, 0.15833837275094961773},
    {1.9519803457163334645, 0.047284752354014028806},   {2.7602450476307016168, 0.0072669376011847333662},
    {3.6008736241715482882, 0.00052598492657390924383}, {4.4929553025200112427, 0.00001530003216248727197},
    {5.4722257059493430884, 1.3094732162868227394e-7},  {6.6308781983931284802, 1.4978147231618397325e-10},
};

constexpr double kPanelOfNeurons = 1.2; // twice as fine as the moments' panels, for products of two of phi and phi'

constexpr double kNothing = 1e-26; // of squares

struct NeuronMoments {
    double b, s, bend, c, cx, cd, slope_variance;
};

// Of phi and phi' at m + root u, as reference/bulk.py has them.
NeuronMoments moments_of(const Activation& activation, double m, double root) {
    const quadrature::Turns turns(activation);
    Mesh mesh(kRange, kPanelOfNeurons, turns.growth);
    for (int i = 0; i < turns.count; ++i) {
        const double at = (turns.at[i] - m) / root, base = 0.5 * turns.scale / root;
        activation.kink_count > 0 ? mesh.kink(at, base) : mesh.turn(at, base);
    }
    double f0 = 0.0, s0 = 0.0, uf = 0.0, us = 0.0, ff = 0.0, fs = 0.0, ss = 0.0;
    const auto sweep = [&](auto&& add) {
        mesh.integrate(0.0, [&](const double* u, const double* weight, int n) {
            double x[kBatch] = {}, value[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = m + root * u[i];
            }
            evaluate(activation, x, value, slope, n);
            for (int i = 0; i < n; ++i) {
                add(u[i], weight[i], value[i], slope[i]);
            }
        });
    };
    sweep([&](double, double weight, double value, double slope) {
        f0 += weight * value;
        s0 += weight * slope;
    });
    sweep([&](double u, double weight, double value, double slope) {
        const double f = value - f0, s = slope - s0;
        uf += weight * u * f;
        us += weight * u * s;
        ff += weight * f * f;
        fs += weight * f * s;
        ss += weight * s * s;
    });
    // What rounding leaves of the means of even and odd functions is none.
    const auto kept = [](double mean, double square) { return mean * mean > kNothing * square ? mean : 0.0; };
    s0 = kept(s0, ss);
    uf = kept(uf, ff);
    us = kept(us, ss + s0 * s0);
    return {uf / root, s0, us / root, std::fmax(ff - uf * uf, 0.0), fs - uf * us, std::fmax(ss - us * us, 0.0), ss};
}

// A hidden layer on the way forward.
struct Hidden {
    const Activation* activation;
    double q_xy, v, shift, scale; // scale: gamma^2/s2, 1 without a BatchNorm
    double slope, slope_difference, trained;
};

struct Way {
    std::vector<const Node*> affine;
    std::vector<Hidden> hidden;
    std::vector<double> hat_xy, hat_v; // that feed the affine layers
};

double value_or_nan(Scaled x) { return x.fits() ? x.value() : NAN; }

// Forward; whether the network is what the equations describe.
bool follow(const Network& network, const Settings& settings, Way* way) {
    double xy = settings.overlap, v = settings.length - settings.overlap;
    State<Scaled> z{};
    Hidden at{};
    int norms = 0;
    bool open = false; // behind an affine layer
    const int count = static_cast<int>(network.nodes.size());
    for (int i = 0; i < count; ++i) {
        const Node& node = network.nodes[i];
        if (node.input != i - 1 || node.other != kNone) {
            return false;
        }
        switch (node.kind) {
        case LayerKind::affine:
            way->affine.push_back(&node);
            way->hat_xy.push_back(xy);
            way->hat_v.push_back(v);
            at = {nullptr, node.numbers[1] + node.numbers[0] * xy, node.numbers[0] * v, 0.0, 1.0, 0.0, 0.0, 0.0};
            open = true;
            break;
        case LayerKind::batch_norm: {
            const double gamma2 = node.numbers[0] * node.numbers[0], s2 = at.v + node.numbers[2];
            if (!open || !(s2 > 0.0) || at.shift != 0.0 || at.scale != 1.0) {
                return false;
            }
            ++norms;
            at.q_xy = 0.0;
            at.shift = node.numbers[1];
            at.scale = gamma2 / s2;
            at.trained = node.trained ? at.v / s2 : 0.0;
            at.v *= at.scale;
            break;
        }
        case LayerKind::phi: {
            if (!open || !(at.v > 0.0)) {
                return false;
            }
            open = false;
            if (!std::isfinite(at.q_xy + at.v + at.scale)) { // what follows is formed in float64
                return false;
            }
            at.activation = &network.activations[node.activation];
            z = {at.q_xy, at.v, 0.0, at.shift, {0.0, 0.0, 0.0, 0.0}};
            const Exact<> integrals{*at.activation};
            const Status status = Phi{}.pass(z, settings, integrals, [&](const auto& law) {
                xy = value_or_nan(law.xy);
                v = value_or_nan(law.v);
                at.slope = value_or_nan(law.slope);
                at.slope_difference = value_or_nan(law.slope_difference);
            });
            if (status != Status::ok || !std::isfinite(xy + v + at.slope + at.slope_difference)) {
                return false;
            }
            if (at.trained > 0.0) {
                const Moments m = integrals.independent(at.v, at.shift);
                at.trained = at.slope_difference + at.trained * value_or_nan(m.u2_slope2 - m.u_slope * m.u_slope);
            }
            way->hidden.push_back(at);
            break;
        }
        default:
            return false;
        }
    }
    const int hidden = static_cast<int>(way->hidden.size());
    return open && hidden < kDeepest && static_cast<int>(way->affine.size()) == hidden + 1 &&
           (norms == 0 || norms == hidden) && network.nodes.back().kind == LayerKind::affine;
}

// Of one hidden layer whose mean gradients have the variance `spread`, and the rest of them `fresh`.
NeuronLayer neurons_of(const Hidden& hidden, double units, double spread, double fresh) {
    NeuronLayer layer;
    const double deviation = std::sqrt(hidden.q_xy), root = std::sqrt(hidden.v);
    const auto add = [&](const NeuronMoments& m, double share, double g, double weight) {
        layer.neurons.push_back(
            {units * share * weight, m.b, m.s, m.bend * g, m.c, m.cx * g, m.cd * g * g + m.slope_variance * fresh});
    };
    const auto add_mean = [&](double mean, double share) {
        const NeuronMoments m = moments_of(*hidden.activation, hidden.shift + mean, root);
        if (!(spread > 0.0)) {
            add(m, share, 0.0, 1.0);
            return;
        }
        for (const NodeWeight& g : kGradients) { // all that depends on g is even in it
            add(m, share, std::sqrt(spread) * g.at, 2.0 * g.weight);
        }
    };
    if (!(hidden.q_xy > 0.0)) {
        add_mean(0.0, 1.0);
        return layer;
    }
    for (const NodeWeight& m : kMeans) {
        add_mean(-deviation * m.at, m.weight);
        add_mean(deviation * m.at, m.weight);
    }
    return layer;
}

} // namespace

std::optional<Bulk> bulk_of(const Network& network, const Settings& settings) {
    Way way;
    if (settings.theory == Theory::wei2019 || settings.one_sample() || network.positional() > 0 ||
        !follow(network, settings, &way)) {
        return {};
    }
    const int hidden = static_cast<int>(way.hidden.size());
    Bulk out;
    out.inputs = way.affine[0]->fan_in;
    out.v0 = way.hat_v[0];
    out.share = settings.one_over_n();
    out.outlier = settings.theory == Theory::frozen || !network.normalised();
    // q_tilde_xy and q_tilde - q_tilde_xy of every affine layer, from behind
    std::vector<double> tilde_xy(hidden + 1, 1.0), tilde_v(hidden + 1, 0.0);
    for (int l = hidden - 1; l >= 0; --l) {
        const Hidden& h = way.hidden[l];
        const double back = way.affine[l + 1]->numbers[0] * h.scale;
        tilde_xy[l] = back * h.slope * tilde_xy[l + 1];
        tilde_v[l] = back * ((h.slope + h.slope_difference) * tilde_v[l + 1] + h.slope_difference * tilde_xy[l + 1]);
    }
    for (int l = 0; l <= hidden; ++l) {
        const Node& node = *way.affine[l];
        const double width = node.fan_in, own = width * way.hat_xy[l] + (settings.biases && node.trained ? 1.0 : 0.0);
        out.alpha.push_back(tilde_xy[l]);
        if (l < hidden) {
            out.beta.push_back(out.outlier ? own : 0.0);
        }
        out.widths += 1.0 / std::sqrt(width);
        out.r += width * way.hat_v[l] * tilde_v[l];
        out.d += width * way.hat_v[l] * (tilde_v[l] + tilde_xy[l]) + (out.outlier ? own * tilde_v[l] : 0.0);
    }
    for (int l = 0; l < hidden; ++l) {
        const Hidden& h = way.hidden[l];
        const double units = way.affine[l + 1]->fan_in, after = way.affine[l + 1]->numbers[0] * h.scale;
        const double trained = way.affine[l + 1]->numbers[0] * h.trained * (tilde_xy[l + 1] + tilde_v[l + 1]);
        out.r += trained;
        out.d += trained;
        out.layers.push_back(
            neurons_of(h, units, out.outlier ? after * tilde_xy[l + 1] / units : 0.0, after * tilde_v[l + 1] / units));
        out.layers.back().forward = way.affine[l]->numbers[0] * h.scale / way.affine[l]->fan_in;
        out.layers.back().backward = after / units;
    }
    return out;
}

} // namespace fisherfield
