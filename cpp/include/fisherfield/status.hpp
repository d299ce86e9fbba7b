// SPDX-License-Identifier: BSD-3-Clause
// What may become of an integral, of a layer, and of a point of a scan; the Python side has a sentence for each.
#pragma once

namespace fisherfield {

enum class Status {
    ok,
    zero_variance, // before a BatchNorm
    out_of_range,  // an integral's variance
    not_converged,
    overflow,
    beyond_range,         // a number that was asked for stands as 0 or inf
    inadmissible,         // parameters that do not go together
    edge_not_computed = 8 // of a scan: the numbers are there, but the bulk's edge may rule lambda_max; 7 is training's
};

} // namespace fisherfield
