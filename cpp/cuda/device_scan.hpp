// SPDX-License-Identifier: BSD-3-Clause
// cpp/cpu/scan/scan.hpp's scan on a device, one thread a point.
#pragma once

#include <string>
#include <vector>

#include "scan/scan.hpp"

namespace fisherfield::cuda {

// As scan() of cpp/cpu/scan/scan.hpp; `threads` has no meaning. Throws std::invalid_argument for what a device does not
// have, std::runtime_error where there is no device or it fails.
void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause);

// The same arrays, pieces and function of a point, by the host, one point after another: what can be tested without a
// device.
void rehearse(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
              const std::function<void(long)>& pause);

struct Device {
    std::string name;
    int major, minor; // compute capability
    int processors;
    double clock;         // Hz
    double memory;        // bytes
    double bandwidth;     // of its memory, bytes/s
    int single_to_double; // how much faster single precision is
};

// Empty where there is none, or no driver.
std::vector<Device> devices();

} // namespace fisherfield::cuda
