// SPDX-License-Identifier: BSD-3-Clause
// The bulk's fixed point by Newton's method: the equations are the slopes of one function, so their derivatives are
// sums over the neurons of products of the same 2 x 2 blocks (reference/bulk.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "bulk.hpp"
#include "complex.hpp"
#include "fisherfield/gaussian_integrals.hpp"

namespace fisherfield {

inline constexpr int kNewton = 30;
inline constexpr double kConverged = 1e-7;      // of a step, behind which the error is its square
inline constexpr double kRoundedSign = 1e-9;    // of a part that may not be negative
inline constexpr double kNothingBeside = 1e-25; // unknowns that are 0, beside the largest: rounding of the steps
inline constexpr double kInside = 1e-3; // relative imaginary parts from which on the density is clearly more than 0

// Which of a layer's five numbers (g_0, t, d, A, B) are unknowns, and their places; -1: a constant, or none.
struct Places {
    int t, d, A, B;
};

// What a layer's neurons add up to: slopes of sum log det(1 + Z T) in (g_0, t, d, A, B), and slopes of these.
struct Sums {
    Complex slope[5], second[5][5];
};

class Equations {
public:
    explicit Equations(const Bulk& bulk) : bulk_(bulk), hidden_(static_cast<int>(bulk.layers.size())) {
        // g_0, A_0 .. A_{h-1}, t_0 .. t_{h-1} and, where an outlier passes, B_2 .. B_h, d_2 .. d_h
        const int rest = bulk.outlier && hidden_ > 1 ? hidden_ - 1 : 0;
        size_ = 1 + 2 * hidden_ + 2 * rest;
        for (int l = 0; l < hidden_; ++l) {
            const int first = 1 + 2 * hidden_;
            places_.push_back({1 + hidden_ + l, rest > 0 && l + 1 < hidden_ ? first + rest + l : -1,
                               l + 1 < hidden_ ? 2 + l : -1, rest > 0 && l > 0 ? first + l - 1 : -1});
        }
        update_.resize(size_);
        jacobian_.resize(static_cast<std::size_t>(size_) * size_);
        by_unknown_.resize(size_);
        step_.resize(size_);
    }

    int size() const { return size_; }

    void start(Complex z, std::vector<Complex>* u) const {
        u->assign(size_, Complex(0.0));
        (*u)[0] = reciprocal(Complex(bulk_.share * bulk_.r) - z);
        for (int l = 0; l < hidden_; ++l) {
            (*u)[1 + l] = bulk_.alpha[l];
            if (places_[l].B >= 0) {
                (*u)[places_[l].B] = bulk_.beta[l];
            }
        }
    }

    // The nearest solution; whether there is one that belongs to a positive density. Leaves the derivatives.
    bool solve(Complex z, std::vector<Complex>* u) {
        for (int k = 0; k < kNewton; ++k) {
            differentiate(z, *u);
            for (int i = 0; i < size_; ++i) {
                step_[i] = update_[i] - (*u)[i];
            }
            factor();
            back_substitute(&step_);
            double all = 0.0; // NaN where one is
            for (int i = 0; i < size_; ++i) {
                (*u)[i] += step_[i];
                all += size_of((*u)[i]);
            }
            if (!(all < HUGE_VAL)) {
                return false;
            }
            floor_ = kNothingBeside * all;
            bool converged = true;
            for (int i = 0; i < size_; ++i) {
                converged = converged && size_of(step_[i]) <= kConverged * size_of((*u)[i]) + floor_;
            }
            if (converged) {
                return physical(*u);
            }
        }
        return false;
    }

    // At the solution that was found last: du/dz by the derivatives of the last step, and dS/dz.
    Complex tangent(std::vector<Complex>* slopes) const {
        slopes->assign(size_, Complex(0.0));
        (*slopes)[0] = update_[0] * update_[0]; // of 1/(r - z + S/n) in z
        back_substitute(slopes);
        Complex out(0.0);
        for (int i = 0; i < size_; ++i) {
            out += by_unknown_[i] * (*slopes)[i];
        }
        return out;
    }

    Complex s() const { return s_; }
    // Of the determinant of 1 - update', where all is real.
    double sign() const { return sign_; }

    // Im Psi(x + i0)/pi + n at a solution.
    double above(double x, const std::vector<Complex>& u) {
        const Complex g = u[0], pivot = Complex(1.0) + A(0, u) * g * bulk_.v0;
        double out = bulk_.inputs * argument(pivot);
        s_ = A(0, u) * reciprocal(pivot) * (bulk_.inputs * bulk_.v0);
        for (int l = 0; l < hidden_; ++l) {
            const Places& at = places_[l];
            out -= ((u[1 + l] - Complex(bulk_.alpha[l])) * u[at.t]).im;
            out -= at.d < 0 ? 0.0 : ((u[places_[l + 1].B] - Complex(bulk_.beta[l + 1])) * u[at.d]).im;
            const Complex t = u[at.t], d = of(at.d, 0.0, u), a = A(l + 1, u), b = of(at.B, bulk_.beta[l], u);
            for (const Neuron& each : bulk_.layers[l].neurons) {
                const Block block(each, bulk_.layers[l], g, t, d, a, b);
                out += each.weight * (argument(block.first) + argument(block.second));
                s_ += (block.yhh * each.c + block.yhd * (2.0 * each.cx) + block.ydd * each.cd) * each.weight;
            }
        }
        const Complex free(bulk_.share * bulk_.r - x), own = s_ / free;
        out += bulk_.share > 0.0 ? argument(Complex(1.0) + own * bulk_.share) / bulk_.share : own.im;
        out -= (s_ * reciprocal(free + s_ * bulk_.share)).im;
        return out / kPi;
    }

    // d above/dx: of n log(r - z) nothing was left in Psi.
    double above_slope(double x, const std::vector<Complex>& u) const {
        return (s_ * u[0] * reciprocal(Complex(bulk_.share * bulk_.r - x))).im / kPi;
    }

    bool inside(const std::vector<Complex>& u) const {
        return std::any_of(u.begin(), u.end(),
                           [](const Complex& each) { return std::fabs(each.im) > kInside * size_of(each); });
    }

private:
    // One neuron's pivots of 1 + Z T, and Y.
    struct Block {
        Complex hh, hd, first, i1, q, rest, second, i2, ydd, yhd, yhh;

        Block(const Neuron& n, const NeuronLayer& layer, Complex g, Complex t, Complex d, Complex a, Complex b) {
            const Complex kt = t * layer.forward;
            hh = g * n.c + kt * (n.b * n.b);
            hd = g * n.cx + kt * (n.b * n.bg);
            first = Complex(1.0) + a * hh;
            i1 = reciprocal(first);
            q = a * hd * i1;
            rest = g * n.cd + kt * (n.bg * n.bg) + d * (layer.backward * n.s * n.s) - q * hd;
            second = Complex(1.0) + b * rest;
            i2 = reciprocal(second);
            ydd = b * i2;
            yhd = -(q * ydd);
            yhh = a * i1 - q * yhd;
        }
    };

    static Complex of(int place, double constant, const std::vector<Complex>& u) {
        return place < 0 ? Complex(constant) : u[place];
    }
    Complex A(int l, const std::vector<Complex>& u) const { return l < hidden_ ? u[1 + l] : Complex(bulk_.alpha[l]); }

    bool physical(const std::vector<Complex>& u) const {
        for (int i = 0; i < size_; ++i) {
            const bool dressed =
                (i > 0 && i <= hidden_) || (i > 2 * hidden_ && i <= 2 * hidden_ + (size_ - 1) / 2 - hidden_);
            if (!((dressed ? -u[i].im : u[i].im) >= -kRoundedSign * size_of(u[i]) - floor_)) {
                return false;
            }
        }
        return true;
    }

    Sums sums_of(int l, const std::vector<Complex>& u) const {
        const NeuronLayer& layer = bulk_.layers[l];
        const Places& at = places_[l];
        const Complex g = u[0], t = u[at.t], d = of(at.d, 0.0, u), a = A(l + 1, u), b = of(at.B, bulk_.beta[l], u);
        Sums out{};
        for (const Neuron& n : layer.neurons) {
            const Block y(n, layer, g, t, d, a, b);
            const double k = layer.forward, kd = layer.backward * n.s * n.s, w = n.weight;
            // X e of the directions g_0 (c, c_x; c_x, c_D), t: k e e^T with e = (b, b' g), d: kd
            const Complex eh = y.yhh * n.b + y.yhd * n.bg, ed = y.yhd * n.b + y.ydd * n.bg; // Y e
            const Complex ehe = eh * n.b + ed * n.bg;
            const auto fresh = [&](Complex h, Complex f) { return h * h * n.c + h * f * (2.0 * n.cx) + f * f * n.cd; };
            const Complex m00 = y.yhh * n.c + y.yhd * n.cx, m01 = y.yhh * n.cx + y.yhd * n.cd,
                          m10 = y.yhd * n.c + y.ydd * n.cx, m11 = y.yhd * n.cx + y.ydd * n.cd;
            // U = (1 + Z T)^-1, R = T U
            const Complex udd = y.i2, udh = -(b * y.hd * y.i1 * y.i2), uhd = -(y.q * y.i2),
                          uhh = y.i1 + y.q * y.hd * y.i1 * y.ydd;
            const Complex rhd = y.hd * y.i1 * y.i2, rdd = y.rest * y.i2, rhh = y.hh * y.i1 - rhd * y.hd * y.i1 * b;
            out.slope[0] += (m00 + m11) * w;
            out.slope[1] += ehe * (k * w);
            out.slope[2] += y.ydd * (kd * w);
            out.slope[3] += rhh * w;
            out.slope[4] += rdd * w;
            Complex(*const h)[5] = out.second;
            h[0][0] -= (m00 * m00 + m01 * m10 * 2.0 + m11 * m11) * w;
            h[0][1] -= fresh(eh, ed) * (k * w);
            h[0][2] -= fresh(y.yhd, y.ydd) * (kd * w);
            h[1][1] -= ehe * ehe * (k * k * w);
            h[1][2] -= ed * ed * (k * kd * w);
            h[2][2] -= y.ydd * y.ydd * (kd * kd * w);
            h[0][3] += fresh(uhh, udh) * w;
            h[0][4] += fresh(uhd, udd) * w;
            const Complex ah = uhh * n.b + udh * n.bg, ad = uhd * n.b + udd * n.bg;
            h[1][3] += ah * ah * (k * w);
            h[1][4] += ad * ad * (k * w);
            h[2][3] += udh * udh * (kd * w);
            h[2][4] += udd * udd * (kd * w);
            h[3][3] -= rhh * rhh * w;
            h[3][4] -= rhd * rhd * w;
            h[4][4] -= rdd * rdd * w;
        }
        for (int i = 0; i < 5; ++i) {
            for (int j = 0; j < i; ++j) {
                out.second[i][j] = out.second[j][i];
            }
        }
        return out;
    }

    // S, the unknowns that follow from u, and all derivatives.
    void sweep(const std::vector<Complex>& u) {
        const Complex g = u[0], a0 = A(0, u), i0 = reciprocal(Complex(1.0) + a0 * g * bulk_.v0);
        s_ = a0 * i0 * (bulk_.inputs * bulk_.v0);
        std::fill(jacobian_.begin(), jacobian_.end(), Complex(0.0));
        std::fill(by_unknown_.begin(), by_unknown_.end(), Complex(0.0));
        const auto entry = [&](int row, int column) -> Complex& { return jacobian_[row * size_ + column]; };
        // the inputs' log(1 + A_0 v_0 g_0), as a layer's
        const double n0 = bulk_.inputs * bulk_.v0;
        by_unknown_[0] -= a0 * a0 * i0 * i0 * (n0 * bulk_.v0);
        if (hidden_ > 0) {
            by_unknown_[1] += i0 * i0 * n0;
            update_[places_[0].t] = g * i0 * n0;
            entry(places_[0].t, 0) = i0 * i0 * n0;
            entry(places_[0].t, 1) = -(g * g * i0 * i0 * (n0 * bulk_.v0));
        }
        for (int l = 0; l < hidden_; ++l) {
            const Sums sums = sums_of(l, u);
            const Places& at = places_[l];
            const int columns[5] = {0, at.t, at.d, at.A, at.B};
            s_ += sums.slope[0];
            // Which unknown each slope is the update of: t gives A_l, d gives B_{l+2}, A gives t_{l+1}, B gives d_l.
            const int rows[5] = {-1, 1 + l, at.d < 0 ? -1 : places_[l + 1].B, l + 1 < hidden_ ? places_[l + 1].t : -1,
                                 at.B < 0 ? -1 : places_[l - 1].d};
            const double constants[5] = {0.0, bulk_.alpha[l], at.d < 0 ? 0.0 : bulk_.beta[l + 1], 0.0, 0.0};
            for (int i = 0; i < 5; ++i) {
                for (int j = 0; j < 5; ++j) {
                    if (columns[j] >= 0 && i == 0) {
                        by_unknown_[columns[j]] += sums.second[0][j];
                    } else if (columns[j] >= 0 && rows[i] >= 0) {
                        entry(rows[i], columns[j]) += sums.second[i][j];
                    }
                }
                if (rows[i] >= 0) {
                    update_[rows[i]] = sums.slope[i] + Complex(constants[i]);
                }
            }
        }
    }

    // update_, by_unknown_ = dS/du, jacobian_ = 1 - update'.
    void differentiate(Complex z, const std::vector<Complex>& u) {
        sweep(u);
        const Complex g = reciprocal(Complex(bulk_.share * bulk_.r) - z + s_ * bulk_.share);
        update_[0] = g;
        for (int j = 0; j < size_; ++j) {
            jacobian_[j] = -(g * g * by_unknown_[j] * bulk_.share);
        }
        for (Complex& each : jacobian_) {
            each = -each;
        }
        for (int i = 0; i < size_; ++i) {
            jacobian_[i * size_ + i] += Complex(1.0);
        }
    }

    // Gauss, with the largest entry of each column as its pivot.
    void factor() {
        order_.resize(size_);
        sign_ = 1.0;
        for (int k = 0; k < size_; ++k) {
            int best = k;
            for (int i = k + 1; i < size_; ++i) {
                best = size_of(jacobian_[i * size_ + k]) > size_of(jacobian_[best * size_ + k]) ? i : best;
            }
            order_[k] = best;
            if (best != k) {
                sign_ = -sign_;
                std::swap_ranges(jacobian_.begin() + k * size_, jacobian_.begin() + (k + 1) * size_,
                                 jacobian_.begin() + best * size_);
            }
            const Complex pivot = reciprocal(jacobian_[k * size_ + k]);
            sign_ = jacobian_[k * size_ + k].re > 0.0 ? sign_ : -sign_;
            jacobian_[k * size_ + k] = pivot;
            for (int i = k + 1; i < size_; ++i) {
                const Complex share = jacobian_[i * size_ + k] * pivot;
                jacobian_[i * size_ + k] = share;
                if (share.re != 0.0 || share.im != 0.0) {
                    for (int j = k + 1; j < size_; ++j) {
                        jacobian_[i * size_ + j] -= share * jacobian_[k * size_ + j];
                    }
                }
            }
        }
    }

    void back_substitute(std::vector<Complex>* x) const {
        for (int k = 0; k < size_; ++k) {
            std::swap((*x)[k], (*x)[order_[k]]);
        }
        for (int i = 0; i < size_; ++i) {
            for (int j = 0; j < i; ++j) {
                (*x)[i] -= jacobian_[i * size_ + j] * (*x)[j];
            }
        }
        for (int i = size_; i-- > 0;) {
            for (int j = i + 1; j < size_; ++j) {
                (*x)[i] -= jacobian_[i * size_ + j] * (*x)[j];
            }
            (*x)[i] = (*x)[i] * jacobian_[i * size_ + i];
        }
    }

    const Bulk& bulk_;
    int hidden_, size_ = 1;
    std::vector<Places> places_;
    std::vector<Complex> update_, jacobian_, by_unknown_, step_;
    std::vector<int> order_;
    Complex s_{};
    double sign_ = 1.0, floor_ = 0.0;
};

} // namespace fisherfield
