// SPDX-License-Identifier: BSD-3-Clause
// Memory, launches and copies. Points are done in pieces, two under way at a time, so that one is copied while the
// other is computed and no more than two are held, on the device and on the host.
#include <cuda_runtime.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "device_scan.hpp"
#include "plan.hpp"

namespace fisherfield::cuda {

namespace {

constexpr int kThreads = 128; // of a block

template <Integrals held>
__global__ void __launch_bounds__(kThreads) points(const Job job) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i < job.points) {
        compute<held>(job, i);
    }
}

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string("backend='cuda' failed ") + what + ": " + cudaGetErrorString(status));
    }
}

struct FreeDevice {
    void operator()(void* memory) const { cudaFree(memory); }
};
struct FreePinned {
    void operator()(void* memory) const { cudaFreeHost(memory); }
};
template <class T>
using OnDevice = std::unique_ptr<T[], FreeDevice>;
template <class T>
using Pinned = std::unique_ptr<T[], FreePinned>; // memory of the host that a device copies to and from by itself

template <class T>
OnDevice<T> on_device(std::int64_t count) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, std::max<std::int64_t>(count, 1) * sizeof(T)), "to get memory on the device");
    return OnDevice<T>(static_cast<T*>(memory));
}

template <class T>
Pinned<T> pinned(std::int64_t count) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, std::max<std::int64_t>(count, 1) * sizeof(T)), "to get memory on the host");
    return Pinned<T>(static_cast<T*>(memory));
}

template <class T>
OnDevice<T> sent(const std::vector<T>& data) {
    OnDevice<T> memory = on_device<T>(static_cast<std::int64_t>(data.size()));
    check(cudaMemcpy(memory.get(), data.data(), data.size() * sizeof(T), cudaMemcpyHostToDevice), "to send parameters");
    return memory;
}

class Stream {
public:
    Stream() { check(cudaStreamCreate(&stream_), "to make a stream"); }
    ~Stream() {
        cudaStreamSynchronize(stream_); // nothing is freed that is still in use
        cudaStreamDestroy(stream_);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return stream_; }

private:
    cudaStream_t stream_ = nullptr;
};

// What all pieces read.
struct Shared {
    OnDevice<Node> nodes;
    OnDevice<int> varied;
    OnDevice<Activation> activations;
    OnDevice<Quantity> asked;
    OnDevice<std::int64_t> offsets;
    std::vector<OnDevice<double>> data; // of columns that are whole
    std::vector<OnDevice<Digit>> digits;

    explicit Shared(const Plan& plan)
        : nodes(sent(plan.nodes)), varied(sent(plan.varied)), activations(sent(plan.activations)),
          asked(sent(plan.asked)), offsets(sent(plan.offsets)) {
        for (const Plan::Values& each : plan.columns) {
            data.push_back(sent(each.data));
            digits.push_back(sent(each.digits));
        }
    }
};

// A piece under way.
class Piece {
public:
    Piece(const Plan& plan, const Shared& shared)
        : plan_(plan), job_(plan.job), values_(on_device<double>(plan.piece() * job_.varying)),
          numbers_(on_device<double>(plan.piece() * plan.numbers())), status_(on_device<std::int8_t>(plan.piece())),
          numbers_here_(pinned<double>(plan.piece() * plan.numbers())),
          status_here_(pinned<std::int8_t>(plan.piece())) {
        std::vector<Column> columns;
        for (std::size_t k = 0; k < plan.columns.size(); ++k) {
            const Plan::Values& each = plan.columns[k];
            gathered_.push_back(on_device<double>(each.whole() ? 0 : plan.piece()));
            gathered_here_.push_back(pinned<double>(each.whole() ? 0 : plan.piece()));
            columns.push_back({each.whole() ? shared.data[k].get() : gathered_.back().get(), shared.digits[k].get(),
                               static_cast<int>(each.digits.size())});
        }
        columns_ = sent(columns);
        job_.nodes = shared.nodes.get();
        job_.varied = shared.varied.get();
        job_.activations = shared.activations.get();
        job_.asked = shared.asked.get();
        job_.offsets = shared.offsets.get();
        job_.columns = columns_.get();
        job_.values = values_.get();
        job_.out = numbers_.get();
        job_.status = status_.get();
    }

    // Everything that is to be done for points from `first` on is put into the stream.
    void begin(std::int64_t first) {
        job_.first = first;
        job_.points = std::min(plan_.piece(), plan_.points() - first);
        for (std::size_t k = 0; k < plan_.columns.size(); ++k) {
            if (!plan_.columns[k].whole()) {
                plan_.gather(plan_.columns[k], first, job_.points, gathered_here_[k].get());
                copy(gathered_[k].get(), gathered_here_[k].get(), job_.points, cudaMemcpyHostToDevice);
            }
        }
        launch();
        for (std::size_t i = 0; i < plan_.asked.size(); ++i) {
            const std::int64_t each = of_layers(plan_.asked[i]) ? job_.layers : 1, from = plan_.offsets[i];
            copy(numbers_here_.get() + from, numbers_.get() + from, job_.points * each, cudaMemcpyDeviceToHost);
        }
        copy(status_here_.get(), status_.get(), job_.points, cudaMemcpyDeviceToHost);
    }

    // Waits for it; how many points there were.
    std::int64_t finish(const std::vector<double*>& out, std::int8_t* status) {
        check(cudaStreamSynchronize(stream_), "in a kernel");
        Job here = job_;
        here.out = numbers_here_.get();
        here.status = status_here_.get();
        plan_.scatter(here, out, status);
        return job_.points;
    }

private:
    template <class T>
    void copy(T* to, const T* from, std::int64_t count, cudaMemcpyKind kind) {
        check(cudaMemcpyAsync(to, from, count * sizeof(T), kind, stream_), "to copy");
    }

    void launch() {
        const unsigned blocks = static_cast<unsigned>((job_.points + kThreads - 1) / kThreads);
        switch (plan_.held) {
        case Integrals::rays:
            points<Integrals::rays><<<blocks, kThreads, 0, stream_>>>(job_);
            break;
        case Integrals::sums:
            points<Integrals::sums><<<blocks, kThreads, 0, stream_>>>(job_);
            break;
        default: // Plan has refused what needs more
            points<Integrals::polynomials><<<blocks, kThreads, 0, stream_>>>(job_);
            break;
        }
        check(cudaGetLastError(), "to start a kernel");
    }

    const Plan& plan_;
    Job job_;
    OnDevice<double> values_, numbers_;
    OnDevice<std::int8_t> status_;
    Pinned<double> numbers_here_;
    Pinned<std::int8_t> status_here_;
    std::vector<OnDevice<double>> gathered_;
    std::vector<Pinned<double>> gathered_here_;
    OnDevice<Column> columns_;
    Stream stream_; // the last one: it waits before anything above is freed
};

// The driver's own words where there is no device.
void find_device() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        const char* const why = cudaGetErrorString(status != cudaSuccess ? status : cudaErrorNoDevice);
        throw std::runtime_error(std::string("backend='cuda' found no CUDA device: ") + why);
    }
}

} // namespace

void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause) {
    const Plan plan(request);
    find_device();
    if (plan.points() == 0) {
        return;
    }
    const Shared shared(plan);
    std::unique_ptr<Piece> pieces[2];
    const std::int64_t count = (plan.points() + plan.piece() - 1) / plan.piece();
    std::int64_t done = 0;
    for (std::int64_t k = 0; k <= count; ++k) {
        std::unique_ptr<Piece>& piece = pieces[k % 2];
        if (k < count) {
            piece = piece ? std::move(piece) : std::make_unique<Piece>(plan, shared);
            piece->begin(k * plan.piece());
        }
        if (k > 0) {
            done += pieces[(k - 1) % 2]->finish(out, status);
            pause(static_cast<long>(done));
        }
    }
}

std::vector<Device> devices() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        return {};
    }
    std::vector<Device> out;
    for (int which = 0; which < count; ++which) {
        cudaDeviceProp properties;
        check(cudaGetDeviceProperties(&properties, which), "to ask for a device's properties");
        const auto attribute = [which](cudaDeviceAttr name) {
            int value = 0;
            check(cudaDeviceGetAttribute(&value, name, which), "to ask for a device's properties");
            return value;
        };
        const double memory_clock = 1e3 * attribute(cudaDevAttrMemoryClockRate);
        out.push_back({properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                       1e3 * attribute(cudaDevAttrClockRate), static_cast<double>(properties.totalGlobalMem),
                       2.0 * memory_clock * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8.0, // two words a cycle
                       attribute(cudaDevAttrSingleToDoublePrecisionPerfRatio)});
    }
    return out;
}

} // namespace fisherfield::cuda
