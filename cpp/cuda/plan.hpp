// SPDX-License-Identifier: BSD-3-Clause
// What the host prepares for a device: a scan as plain arrays, and the pieces in which it is done.
#pragma once

#include <cstdint>
#include <vector>

#include "point.hpp"
#include "scan/scan.hpp"

namespace fisherfield::cuda {

class Plan {
public:
    // Throws std::invalid_argument for what a device does not have.
    explicit Plan(const ScanRequest& request, std::int64_t most = kMostPoints);

    // A column with digits is whole, and `data` its numbers; else they are gathered piece by piece.
    struct Values {
        const Plane* plane;
        std::vector<Digit> digits;
        std::vector<double> data;

        bool whole() const { return !data.empty(); }
    };

    // The numbers of a column that is not whole, for points from `first` on.
    void gather(const Values& values, std::int64_t first, std::int64_t count, double* to) const;

    // A piece's results to where they belong in the box.
    void scatter(const Job& piece, const std::vector<double*>& out, std::int8_t* status) const;

    std::int64_t numbers() const { return numbers_; } // of all quantities, for one point
    std::int64_t points() const { return points_; }
    std::int64_t piece() const { return job.capacity; } // points of one

    Integrals held = Integrals::rays; // what the activations need
    Job job;                          // all but its pointers
    std::vector<Node> nodes;
    std::vector<int> varied;
    std::vector<Activation> activations;
    std::vector<Values> columns;
    std::vector<Quantity> asked;
    std::vector<std::int64_t> offsets;

private:
    static constexpr std::int64_t kMostPoints = std::int64_t{1} << 20;
    static constexpr std::int64_t kLeastPoints = 1024;                   // fewer leave a device idle
    static constexpr std::int64_t kPieceBytes = std::int64_t{128} << 20; // of one piece; two are under way at a time
    static constexpr std::int64_t kWhole = std::int64_t{1} << 20;        // the most numbers of a column sent at once

    // What is known of Gaussian units whatever the point: whether they may have a mean, whether their values at two
    // inputs may depend on each other, and whether both may be so at one point.
    struct Units {
        bool shifted = false, dependent = false, both = false;
    };

    ColumnOrValue number(const Slot* slot, double otherwise);
    void add(const Node& node, int place);
    Units left_by(const Node& node, const ColumnOrValue* own) const; // by its own numbers and what feeds it
    Units units_at(int input) const;
    void hold(const Activation& phi, const Units& units); // what its integrals need
    bool ever(const ColumnOrValue& number, bool (*is)(double)) const;

    const ScanRequest& request_;
    std::int64_t points_ = 1, numbers_ = 0;
    std::vector<Units> units_; // of each node
};

} // namespace fisherfield::cuda
