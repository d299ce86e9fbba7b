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
    // are neither those of rays nor free of what the recursion makes, numbers beyond 1e-30 .. 1e30.
    static std::unique_ptr<ScanColumns> of(const ScanRequest& request);

    std::size_t memory() const { return planes_.size() * kScanBlock; }

    // Results of `count` <= kScanBlock points from `first` on; see ScanKernel.
    bool block(long first, int count, double* memory, double* const* out, double* left) const;

private:
    // Numbers over the box.
    struct Plane {
        const double* data;
        std::vector<long> strides;
    };

    explicit ScanColumns(const ScanRequest& request) : request_(request), shape_(request.shape) {}

    bool build();
    bool build(int l, bool samples_finite, bool samples_infinite);
    void coalesce();

    const Slot* slot(Field field, int layer) const;
    Column column(const Slot* slot, double otherwise);
    std::vector<Column> derived(const std::vector<std::pair<const Slot*, double>>& from, int count,
                                const std::function<void(const double* in, double* out)>& formula);
    bool all(const Slot* slot, double otherwise, const std::function<bool(double)>& holds) const;

    const ScanRequest& request_;
    std::vector<long> shape_; // of the box, axes that run together as one
    std::vector<Plane> planes_;
    std::vector<std::unique_ptr<std::vector<double>>> owned_;
    std::vector<LayerColumns> layers_;
    PointColumns points_;
    ScanKernel kernel_ = nullptr;
};

} // namespace fisherfield
