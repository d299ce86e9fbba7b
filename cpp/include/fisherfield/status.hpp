// SPDX-License-Identifier: BSD-3-Clause
// Whether there is a number, and if not, why.
#pragma once

namespace fisherfield {

enum class Status { ok, zero_variance, out_of_range, not_converged, overflow };

} // namespace fisherfield
