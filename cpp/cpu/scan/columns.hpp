// SPDX-License-Identifier: BSD-3-Clause
// A scan's points as columns of plain float64, for kernels that take many at once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "scan.hpp"
#include "scan/kernels.hpp"

namespace fisherfield {

class ScanColumns {
public:
    // Null where kernels do not cover the scan: convolutions position by position, quantities of layers, integrals that
    // are neither those of rays nor free of what the recursion makes, the network's own numbers beyond 1e-30 .. 1e30.
    static std::unique_ptr<ScanColumns> of(const ScanRequest& request);

    std::size_t memory() const { return whole_.planes.size() * kScanBlock; }

    // Results of `count` <= kScanBlock points from `first` on; see ScanKernel.
    bool block(long first, int count, double* memory, double* const* out, double* outside) const;

private:
    explicit ScanColumns(const ScanRequest& request) : request_(request), whole_{request.shape, {}} {}

    bool build();
    // One affine layer and what follows it.
    struct Group {
        int affine = 0, sum = -1, norm = -1, before = -1, behind = -1; // nodes; -1: none
        bool last = false, holds = false;
        const Activation* phi = nullptr;

        bool plain() const { return sum < 0 && before < 0 && behind < 0; }
    };
    std::vector<Group> groups() const; // empty where kernels do not cover the network
    bool build(const Group& group, LayerColumns* layer);

    // A number at every point: that of a plane, or the same for all.
    struct Number {
        const Plane* plane;
        double otherwise;
    };
    Number of_point(PointNumber point, double otherwise) const;
    Number of_node(int node, int number) const;

    void mark(const std::vector<Number>& from, const std::function<bool(const double*)>& apart);
    bool acts_on_kernel(const Slot& slot) const;
    bool outlier_rules() const;
    void run_ahead();

    ColumnOrValue column(const Number& number);
    std::vector<ColumnOrValue> derived(const std::vector<Number>& from, int count,
                                       const std::function<void(const double* in, double* out)>& formula);
    bool all(const Number& number, const std::function<bool(double)>& holds) const;
    bool any(const Number& number, const std::function<bool(double)>& holds) const;

    const ScanRequest& request_;
    Box whole_;
    std::vector<std::unique_ptr<std::vector<double>>> owned_;
    std::vector<std::unique_ptr<Interpolation>> lookups_;
    std::vector<LayerColumns> layers_;
    std::vector<ColumnOrValue> apart_;
    PointColumns points_;
    bool diagonal_ = true;
    bool sums_ = false; // sums of branches, or normalisations over units
    ScanKernel kernel_ = nullptr;
};

} // namespace fisherfield
