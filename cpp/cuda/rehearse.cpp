// SPDX-License-Identifier: BSD-3-Clause
#include "device_scan.hpp"
#include "plan.hpp"

namespace fisherfield::cuda {

namespace {

constexpr std::int64_t kPiece = 1000; // small, so that there are several

void compute(Integrals held, const Job& job, std::int64_t i) {
    switch (held) {
    case Integrals::rays:
        return compute<Integrals::rays>(job, i);
    case Integrals::sums:
        return compute<Integrals::sums>(job, i);
    default:
        return compute<Integrals::polynomials>(job, i);
    }
}

} // namespace

void rehearse(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
              const std::function<void(long)>& pause) {
    const Plan plan(request, kPiece);
    Job job = plan.job;
    std::vector<double> values(plan.piece() * job.varying), numbers(plan.piece() * plan.numbers());
    std::vector<std::int8_t> statuses(plan.piece());
    std::vector<std::vector<double>> gathered(job.varying);
    std::vector<Column> columns;
    for (std::size_t k = 0; k < plan.columns.size(); ++k) {
        const Plan::Values& each = plan.columns[k];
        gathered[k].resize(each.whole() ? 0 : plan.piece());
        columns.push_back({each.whole() ? each.data.data() : gathered[k].data(), each.digits.data(),
                           static_cast<int>(each.digits.size())});
    }
    job.nodes = plan.nodes.data();
    job.varied = plan.varied.data();
    job.activations = plan.activations.data();
    job.columns = columns.data();
    job.asked = plan.asked.data();
    job.offsets = plan.offsets.data();
    job.values = values.data();
    job.out = numbers.data();
    job.status = statuses.data();
    for (job.first = 0; job.first < plan.points(); job.first += plan.piece()) {
        job.points = std::min(plan.piece(), plan.points() - job.first);
        for (std::size_t k = 0; k < plan.columns.size(); ++k) {
            if (!plan.columns[k].whole()) {
                plan.gather(plan.columns[k], job.first, job.points, gathered[k].data());
            }
        }
        for (std::int64_t i = 0; i < job.points; ++i) {
            compute(plan.held, job, i);
        }
        plan.scatter(job, out, status);
        pause(static_cast<long>(job.first + job.points));
    }
}

} // namespace fisherfield::cuda
