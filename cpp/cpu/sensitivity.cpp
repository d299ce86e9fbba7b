// SPDX-License-Identifier: BSD-3-Clause
#include "sensitivity.hpp"

#include <algorithm>
#include <array>

#include "fisherfield/evaluate.hpp"
#include "worth.hpp"

namespace fisherfield {

namespace {

// Central differences of eighth order, with steps of a fiftieth of the distance to the next singularity or less: they
// leave h^8 = 3e-14 of it, and a fiftieth of the integrals' digits.
constexpr double kStep = 0.02;
constexpr std::array<double, 4> kStencil{4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0};

// What a node's state is worth, but for its kernel: by xy, v, off and mean.
struct Slopes {
    Scaled xy, v, off, mean;
};

bool is_normed(const Network& network, const Node& node) {
    return node.input >= 0 && row_of(network.nodes[node.input].kind).normalises;
}

using Field = Scaled State<Scaled>::*;
struct Direction {
    Field field;
    Scaled Slopes::* slope;
};
constexpr std::array<Direction, 4> kDirections{{{&State<Scaled>::xy, &Slopes::xy},
                                                {&State<Scaled>::v, &Slopes::v},
                                                {&State<Scaled>::off, &Slopes::off},
                                                {&State<Scaled>::mean, &Slopes::mean}}};

// The way back of one number of the output, o + of_d d, over all nodes: what states are worth, and their kernels. Where
// one sample moves, BatchNorm's statistics stay as they are.
class Back {
public:
    Back(const Network& network, const Settings& settings, const KeptStates& kept, bool of_sample)
        : network_(network), settings_(settings), kept_(kept),
          data_(input_state<Scaled>(settings.overlap, settings.length)), of_sample_(of_sample),
          of_d_(settings.one_over_n()), at_(network.nodes.size() + 1), worth_(network.nodes.size()),
          divisors_(network.nodes.size()) {
        worth_.back() = {{1.0, 0.0, 0.0, 0.0}, {0.0, 1.0, 0.0, 0.0}};
    }

    // see(i, rates, o, d) for every phi, from the last one to the first: the number's rates, and what the kernel's o
    // and D behind it are worth to the output's o and to its D.
    template <class See>
    Outcome run(See&& see) {
        for (int i = static_cast<int>(network_.nodes.size()); i-- > 0;) {
            const Node& node = network_.nodes[i];
            if (node.kind == LayerKind::phi) {
                Rates all = rates(i);
                const TangentKernel<Scaled> by = worth(i);
                all.t = (by.o - by.d) * state(node.input).kernel.o;
                see(i, all, worth_[i].o.o, worth_[i].o.d + worth_[i].d.d);
            }
            if (row_of(node.kind).of_sample && node.gaussian) {
                divisors_[i] = divided(i, node);
            }
            if (const Status status = through(i, node); status != Status::ok) {
                return {status, i};
            }
        }
        return {};
    }

    // What a normalisation of Gaussian units before phi does with its own statistics of a finite number of units: by
    // the logarithm of the mean square that it divides by, and by the mean that it takes off, over the root of that.
    void add_norm(const Node& phi, Rates* rates) const {
        if (phi.input < 0) {
            return;
        }
        rates->divisor = divisors_[phi.input];
        if (takes_mean_off(phi)) {
            const State<Scaled>& in = state(phi.input);
            rates->centre = -(sqrt(in.xy + in.v) * at_[phi.input + 1].mean);
        }
    }

    // An activation's overlap has its mean's square, which its xy has not where there is a mean.
    Rates rates(int node) const {
        const Slopes& at = at_[node + 1];
        return {at.v, at.xy - at.v, at.mean - Scaled(2.0) * state(node).mean * at.xy, 0.0, 0.0, 0.0};
    }

private:
    const State<Scaled>& state(int node) const { return node < 0 ? data_ : kept_.states[node]; }

    // By o, d, ou and ou + du, as product() takes it.
    TangentKernel<Scaled> worth(int i) const {
        const Worth& w = worth_[i];
        return {w.o.o + of_d_ * w.d.o, w.o.d + of_d_ * w.d.d, w.o.ou + of_d_ * w.d.ou, w.o.du + of_d_ * w.d.du};
    }

    bool takes_mean_off(const Node& phi) const {
        return phi.input >= 0 && row_of(network_.nodes[phi.input].kind).asks_for_mean &&
               network_.nodes[phi.input].gaussian;
    }

    Scaled divided(int i, const Node& node) const {
        const State<Scaled>& in = state(node.input);
        const Slopes& at = at_[i + 1];
        Scaled out;
        law(node, in, in, [&](const auto& law) {
            if constexpr (requires { law.share; }) {
                const Scaled behind = at.xy * law.xy + at.v * law.v + at.off * law.off;
                out = -((in.xy + in.v) * law.share) * (behind + product(worth(i), law.kernel(in.kernel)));
            }
        });
        return out;
    }

    template <class Visit>
    Status law(const Node& node, const State<Scaled>& in, const State<Scaled>& other, Visit&& visit) const {
        return with_layer(node, [&](const auto& layer) {
            if constexpr (requires { layer.of_two; }) {
                return layer.pass(in, other, visit);
            } else {
                return layer.pass(in, settings_, Exact<>{network_.activations[node.activation]}, visit);
            }
        });
    }

    // A fiftieth of which a number of a state is moved by; 0 where it is not.
    Scaled reach(const Node& node, const State<Scaled>& in, Field field) const {
        const bool phi = node.kind == LayerKind::phi;
        if (field == &State<Scaled>::v) {
            return in.v;
        }
        if (field == &State<Scaled>::xy) {
            const Scaled all = in.xy + (phi ? Scaled(0.5) * in.v : in.v);
            return (phi && is_normed(network_, node)) || all < Scaled(0.0) ? Scaled(0.0) : all;
        }
        if (phi) { // means of Gaussian units are beta's, and do not move; BatchNorm's off does not either
            return field == &State<Scaled>::mean && takes_mean_off(node) ? sqrt(in.v) : Scaled(0.0);
        }
        const Scaled size = abs(in.mean); // laws are lines or parabolas in off and in the mean
        return field == &State<Scaled>::off || is_zero(size) ? Scaled(1.0) : size;
    }

    Status through(int i, const Node& node) {
        const State<Scaled>& in = state(node.input);
        const State<Scaled>& other = node.other == kNone ? in : state(node.other);
        const Status status = law(node, in, other, [&](const auto& law) {
            const auto back = [&](const auto& from, int input) {
                const TangentKernel<Scaled>& kernel = state(input).kernel;
                if (input >= 0) {
                    add_transposed(from, worth_[i], !is_zero(kernel.ou) || !is_zero(kernel.du), &worth_[input]);
                }
            };
            back(law, node.input);
            if constexpr (requires { law.skip; }) {
                back(law.skip, node.other);
            }
        });
        if (status != Status::ok) {
            return status;
        }
        if (const Status first = slopes(i, node, true); first != Status::ok || node.other == kNone) {
            return first;
        }
        return slopes(i, node, false);
    }

    // Adds what the states before a node are worth.
    Status slopes(int i, const Node& node, bool first) {
        const int input = first ? node.input : node.other;
        const State<Scaled>& in = state(input);
        if (row_of(node.kind).normalises && of_sample_) { // u of the one sample, by what all have it divided by
            at_[input + 1].v = at_[input + 1].v + at_[i + 1].v * kept_.states[i].v / in.v;
            return Status::ok;
        }
        const State<Scaled>& other = node.other == kNone ? in : state(first ? node.other : node.input);
        for (const Direction& direction : kDirections) {
            const Scaled scale = reach(node, in, direction.field);
            if (is_zero(scale)) {
                continue;
            }
            const Scaled step = Scaled(kStep) * scale;
            Scaled sum;
            for (int k = -4; k <= 4; ++k) {
                if (k == 0) {
                    continue;
                }
                State<Scaled> moved = in;
                moved.*direction.field = moved.*direction.field + Scaled(k) * step;
                const State<Scaled>& one = first ? moved : other;
                const Status status = law(node, one, first ? other : moved, [&](const auto& law) {
                    const State<Scaled> out = apply(law, one);
                    const Slopes& at = at_[i + 1];
                    const Scaled value = at.xy * out.xy + at.v * out.v + at.off * out.off + at.mean * out.mean +
                                         product(worth(i), out.kernel);
                    sum = sum + Scaled(k < 0 ? -kStencil[-k - 1] : kStencil[k - 1]) * value;
                });
                if (status != Status::ok) {
                    return status;
                }
            }
            Scaled& before = at_[input + 1].*direction.slope;
            before = before + sum / step;
        }
        return Status::ok;
    }

    const Network& network_;
    const Settings& settings_;
    const KeptStates& kept_;
    const State<Scaled> data_;
    const bool of_sample_;
    const Scaled of_d_;
    std::vector<Slopes> at_; // of every node, the data first
    std::vector<Worth> worth_;
    std::vector<Scaled> divisors_; // of normalisations of Gaussian units
};

void divide(Rates* rates, const Scaled& by) {
    *rates = {rates->q / by, rates->xy / by, rates->mean / by, rates->t / by, rates->divisor / by, rates->centre / by};
}

} // namespace

OutputState output_state(const Network& network, const Settings& settings) {
    KeptStates kept;
    const Output output = evaluate(network, settings, nullptr, &kept);
    if (output.status != Status::ok) {
        return {output.status, output.node, {}};
    }
    const Node& last = network.nodes.back(); // the identity, behind a normalisation
    const bool normed = last.kind == LayerKind::phi && last.input >= network.positional();
    return {Status::ok, 0, normed ? kept.states[last.input] : kept.states.back()};
}

Sensitivities sensitivities(const Network& network, const Settings& settings) {
    Sensitivities out;
    out.rows.resize(1);
    KeptStates kept;
    Settings independent = settings; // one sample, and the mean over infinitely many others
    independent.samples = 0.0;
    for (const bool of_sample : {false, true}) {
        const Settings& given = of_sample ? independent : settings;
        const Output output = evaluate(network, given, nullptr, &kept);
        if (output.status != Status::ok) {
            return {output.status, output.node, {}};
        }
        const Scaled by = output.kernel.o + Scaled(given.one_over_n()) * output.kernel.d;
        Back back(network, given, kept, of_sample);
        std::size_t place = 1;
        const auto see = [&](int i, Rates rates, const Scaled& o, const Scaled& d) {
            if (!of_sample) {
                out.rows.insert(out.rows.begin() + 1, Sensitivity{});
            }
            Sensitivity& row = of_sample ? out.rows[out.rows.size() - place++] : out.rows[1];
            (of_sample ? row.sample : row.lambda) = rates;
            const Node& node = network.nodes[i];
            if (of_sample) {
                row.node = i;
                row.normed = is_normed(network, node);
                row.in = kept.states[node.input];
                row.worth = o / by;
                row.worth_d = d / by;
            }
        };
        const Outcome outcome = back.run(see);
        if (outcome.status != Status::ok) {
            return {outcome.status, outcome.node, {}};
        }
        const auto rates_of = [&](Sensitivity& row) -> Rates& { return of_sample ? row.sample : row.lambda; };
        rates_of(out.rows[0]) = back.rates(kData);
        place = 1;
        for (const Node& node : network.nodes) {
            if (node.kind == LayerKind::phi) {
                back.add_norm(node, &rates_of(out.rows[place++]));
            }
        }
        for (Sensitivity& row : out.rows) {
            divide(&rates_of(row), by);
        }
    }
    out.rows[0].in = input_state<Scaled>(settings.overlap, settings.length);
    return out;
}

} // namespace fisherfield
