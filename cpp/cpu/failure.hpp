// SPDX-License-Identifier: BSD-3-Clause
// Why a network has no numbers, and where.
#pragma once

#include <stdexcept>

#include "fisherfield/status.hpp"

namespace fisherfield {

struct Failure : std::domain_error {
    Failure(Status status, int node, int unit)
        : std::domain_error("a layer has no numbers"), status(status), node(node), unit(unit) {}
    Status status;
    int node, unit; // counted from 0
};

} // namespace fisherfield
