// SPDX-License-Identifier: BSD-3-Clause
// A scan's points as columns of plain float64, for kernels that take many at once.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "scan.hpp"
#include "scan/kernels.hpp"

namespace fisherfield {

bool moderate(const Node& node); // its numbers: products of a few are far from the ends of float64's range

class ScanColumns {
public:
    // Null where kernels do not cover the scan: convolutions position by position, quantities of layers, integrals that
    // are neither those of rays nor free of what the recursion makes, the network's own numbers beyond 1e-30 .. 1e30.
    // Chains of layers have kernels of their own (kernels.cpp), others go node by node (graph_kernel.cpp).
    static std::unique_ptr<ScanColumns> of(const ScanRequest& request);

    std::size_t memory() const { return whole_.planes.size() * kScanBlock; }

    // Results of `count` <= kScanBlock points from `first` on; see ScanKernel.
    bool block(long first, int count, double* memory, double* const* out, double* outside) const;

private:
    explicit ScanColumns(const ScanRequest& request) : request_(request), whole_{request.shape, {}} {}

    bool build();
    // One affine layer and what follows it.
    struct Group {
        int affine = 0, norm = -1; // nodes; -1: none
        bool last = false;
        const Activation* phi = nullptr;
    };
    std::vector<Group> groups() const; // empty where the network is no chain of them
    bool build(const Group& group, LayerColumns* layer);
    bool build_nodes();
    bool build(int node, NodeColumns* out);
    bool build_phi(const Node& node, NodeColumns* out);

    // A number at every point: that of a plane, or the same for all.
    struct Number {
        const Plane* plane;
        double otherwise;
    };
    Number of_point(PointNumber point, double otherwise) const;
    Number of_node(int node, int number);
    ColumnOrValue fan_in(const Node& affine);
    bool closed(int node);
    void close(const Rays& rays, PhiColumns* phi);
    void integrate(const Activation& activation, const Number& gamma, const Number& beta, PhiColumns* phi);
    const Interpolation* lookup(const std::shared_ptr<const Table>& table);

    void mark(const std::vector<Number>& from, const std::function<bool(const double*)>& apart);
    bool acts_on_kernel(const Slot& slot) const;
    bool multiplied_twice() const;
    bool outlier_rules();
    double most_of_a(const Network& wide, double length, double ratio) const;
    void bound_edges();
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
    std::map<std::pair<const Slot*, double>, Plane> multiples_; // of a network's own numbers
    std::deque<double> values_;
    std::vector<LayerColumns> layers_;
    std::vector<NodeColumns> nodes_;
    std::vector<ColumnOrValue> apart_;
    PointColumns points_;
    bool diagonal_ = true;
    bool graph_ = false; // no chain
    ScanKernel kernel_ = nullptr;
};

} // namespace fisherfield
