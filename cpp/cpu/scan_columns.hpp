// SPDX-License-Identifier: BSD-3-Clause
// A scan's points as columns of plain float64, for kernels that take many at once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "scan.hpp"
#include "scan_kernels.hpp"

namespace fisherfield {

class ScanColumns {
public:
    // Null where kernels do not cover the scan: convolutions position by position, quantities of layers, integrals that
    // are neither those of rays nor free of what the recursion makes, the network's own numbers beyond 1e-30 .. 1e30.
    static std::unique_ptr<ScanColumns> of(const ScanRequest& request);

    std::size_t memory() const { return whole_.planes.size() * kScanBlock; }

    // Results of `count` <= kScanBlock points from `first` on; see ScanKernel.
    bool block(long first, int count, double* memory, double* const* out, double* left) const;

private:
    // Numbers over the box.
    struct Plane {
        const double* data;
        std::vector<long> strides;
    };

    // Points in C order, and the planes that they have.
    struct Box {
        std::vector<long> shape;
        std::vector<Plane> planes;

        long points() const;
        void coalesce();
        void fill(long first, int count, double* memory) const;
    };

    explicit ScanColumns(const ScanRequest& request) : request_(request), whole_{request.shape, {}} {}

    bool build();
    bool build(int l);
    void mark(const std::vector<std::pair<const Slot*, double>>& from, const std::function<bool(const double*)>& odd);
    bool acts_on_kernel(const Slot& slot) const;
    bool outlier_rules() const;
    void run_ahead();

    const Slot* slot(Field field, int layer) const;
    Column column(const Slot* slot, double otherwise);
    std::vector<Column> derived(const std::vector<std::pair<const Slot*, double>>& from, int count,
                                const std::function<void(const double* in, double* out)>& formula);
    bool all(const Slot* slot, double otherwise, const std::function<bool(double)>& holds) const;
    bool any(const Slot* slot, double otherwise, const std::function<bool(double)>& holds) const;

    const ScanRequest& request_;
    Box whole_;
    std::vector<std::unique_ptr<std::vector<double>>> owned_;
    std::vector<std::unique_ptr<Tabulated>> lookups_;
    std::vector<LayerColumns> layers_;
    std::vector<Column> odd_;
    PointColumns points_;
    bool diagonal_ = true;
    ScanKernel kernel_ = nullptr;
};

} // namespace fisherfield
