// SPDX-License-Identifier: BSD-3-Clause
#include "scan.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>

#include "fisher.hpp"
#include "scan_columns.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool in_block(Field field) { return field <= Field::eps; }
bool needs_batch_norm(Field field) { return field == Field::gamma || field == Field::beta || field == Field::eps; }

// The first layer that has to be computed anew where the slot's value changes; beyond the last one if none has.
int first_affected(const ScanRequest& request, const Slot& slot) {
    const std::vector<Block>& blocks = request.network.blocks;
    const int count = static_cast<int>(blocks.size());
    const auto first_norm = [&] {
        const auto at = std::find_if(blocks.begin(), blocks.end(), [](const Block& block) { return block.batch_norm; });
        return static_cast<int>(at - blocks.begin());
    };
    switch (slot.field) {
    case Field::overlap:
    case Field::length:
        return 0;
    case Field::width:
        return std::min(1, count);
    case Field::samples:
        return request.settings.theory == Theory::exact ? first_norm() : count;
    case Field::momentum:
        return count;
    default:
        return slot.layer >= 0 ? slot.layer : needs_batch_norm(slot.field) ? first_norm() : 0;
    }
}

// One point after another, each from the first layer on whose parameters differ from the last point's.
class Walker {
public:
    explicit Walker(const ScanRequest& request)
        : request_(request), network_(request.network), settings_(request.settings), descent_(request.descent),
          count_(static_cast<int>(network_.blocks.size())),
          batch_norm_(std::any_of(network_.blocks.begin(), network_.blocks.end(),
                                  [](const Block& block) { return block.batch_norm; })),
          values_(request.slots.size(), kNaN) {
        layered_ = std::any_of(request.quantities.begin(), request.quantities.end(), of_layers);
        parted_ = std::any_of(request.quantities.begin(), request.quantities.end(),
                              [](Quantity which) { return which >= Quantity::part_a; });
    }

    // The quantities of the point at `index`, number `place` of the box.
    void point(const std::vector<long>& index, long place, const std::vector<double*>& out, std::int8_t* status) {
        move_to(index);
        int said = run();
        const bool known = said == 0;
        const Point at = at_hand();
        for (std::size_t i = 0; i < out.size(); ++i) {
            const Quantity which = request_.quantities[i];
            const bool layered = of_layers(which);
            for (int l = 0; l < (layered ? count_ : 1); ++l) {
                const Scaled value = !known    ? Scaled(kNaN)
                                     : layered ? of_layer(which, l)
                                               : quantity(which, outcome_.kernel, at);
                out[i][layered ? place * count_ + l : place] = value.value();
                said = known && beyond_range(which, value, outcome_.kernel, at) ? kBeyondRange : said;
            }
        }
        status[place] = static_cast<std::int8_t>(said);
    }

private:
    // Takes the parameters over; all of them where one is another, for a later slot may hide an earlier one.
    void move_to(const std::vector<long>& index) {
        bool moved = false;
        for (std::size_t i = 0; i < request_.slots.size(); ++i) {
            const double value = request_.slots[i].at(index);
            if (!(value == values_[i])) {
                values_[i] = value;
                done_ = std::min(done_, first_affected(request_, request_.slots[i]));
                moved = true;
            }
        }
        for (std::size_t i = 0; moved && i < request_.slots.size(); ++i) {
            set(request_.slots[i], values_[i]);
        }
    }

    void set(const Slot& slot, double value) {
        if (slot.field == Field::width) {
            widen(value, network_.blocks.data(), count_);
        } else if (!in_block(slot.field)) {
            assign(slot.field, value, &settings_, &descent_.momentum);
        } else {
            for (int l = std::max(slot.layer, 0); l < (slot.layer < 0 ? count_ : slot.layer + 1); ++l) {
                assign(slot.field, value, &network_.blocks[l]);
            }
        }
    }

    int run() {
        if (!admissible(settings_, batch_norm_)) {
            return kInadmissible;
        }
        if (done_ < count_ || !ran_) {
            pass_.first = done_;
            outcome_ = output_kernel(network_, settings_, layered_ ? &rows_ : nullptr, &pass_);
            if (outcome_.status == Status::ok && parted_) {
                contributions(network_, settings_, &parts_);
            }
            ran_ = outcome_.status == Status::ok;
            done_ = ran_ ? count_ : outcome_.layer - 1;
        }
        return static_cast<int>(outcome_.status);
    }

    Point at_hand() const {
        const auto layer = [&](int l) -> const Block& { return network_.blocks[l]; };
        return {settings_, descent_, request_.loss, network_.outputs, parameters(layer, count_, settings_.biases)};
    }

    Scaled of_layer(Quantity which, int l) const {
        return which == Quantity::part_a   ? parts_[l].o + parts_[l].d
               : which == Quantity::part_b ? parts_[l].o
                                           : quantity(which, rows_[l]);
    }

    const ScanRequest& request_;
    DescribedNetwork network_;
    Settings settings_;
    Descent descent_;
    int count_;
    bool batch_norm_, layered_, parted_;
    std::vector<double> values_; // of the slots, as they were taken over last
    int done_ = 0;               // layers before this one need not be computed again
    bool ran_ = false;
    Outcome<Scaled> outcome_;
    Pass pass_;
    std::vector<Row> rows_;
    std::vector<Source<Scaled>> parts_;
};

// The order in which points are visited: what acts on early layers changes least often.
struct Itinerary {
    std::vector<int> axes; // outermost first
    long points = 1;
    long block = 1; // points that one thread visits in one go

    explicit Itinerary(const ScanRequest& request) : axes(request.shape.size()) {
        const int count = static_cast<int>(request.network.blocks.size());
        const int convolved = convolutions(request.network, request.settings.theory);
        std::vector<int> affected(request.shape.size(), count);
        for (const Slot& slot : request.slots) {
            for (std::size_t axis = 0; axis < request.shape.size(); ++axis) {
                if (slot.strides[axis] != 0) {
                    affected[axis] = std::min(affected[axis], first_affected(request, slot));
                }
            }
        }
        std::iota(axes.begin(), axes.end(), 0);
        std::stable_sort(axes.begin(), axes.end(), [&](int x, int y) { return affected[x] < affected[y]; });
        for (const long extent : request.shape) {
            points *= extent;
        }
        // Whole runs of what shares the convolutions; else as many as to hide what a block costs.
        long shared = 1;
        for (auto axis = axes.rbegin(); axis != axes.rend() && affected[*axis] >= std::max(convolved, 1); ++axis) {
            shared *= request.shape[*axis];
        }
        block = std::min(std::max(shared, convolved > 0 ? 1L : 64L), 4096L);
    }

    std::vector<long> index(const std::vector<long>& shape, long point) const {
        std::vector<long> out(shape.size());
        for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
            out[*axis] = point % shape[*axis];
            point /= shape[*axis];
        }
        return out;
    }

    void advance(const std::vector<long>& shape, std::vector<long>* index) const {
        for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
            if (++(*index)[*axis] < shape[*axis]) {
                return;
            }
            (*index)[*axis] = 0;
        }
    }
};

std::vector<long> index_of(const std::vector<long>& shape, long place) {
    std::vector<long> index(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0; place /= shape[axis]) {
        index[axis] = place % shape[axis];
    }
    return index;
}

long place_of(const std::vector<long>& shape, const std::vector<long>& index) {
    long place = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        place = place * shape[axis] + index[axis];
    }
    return place;
}

// Calls `pause` from the calling thread alone, some ten times a second, with how many points are done.
class Reporter {
public:
    explicit Reporter(const std::function<void(long)>& pause) : pause_(pause) {}

    void add(long points) {
        done_ += points;
        const auto now = std::chrono::steady_clock::now();
        if (std::this_thread::get_id() == caller_ && now - last_ > std::chrono::milliseconds(100)) {
            last_ = now;
            pause_(done_);
        }
    }

private:
    const std::function<void(long)>& pause_;
    const std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
    std::atomic<long> done_{0};
};

constexpr long kBlocks = 32; // of a kernel's points that a thread does in one go: a millisecond's work or less

// Many points at a time, in the order of the box; what kernels leave is left to a walker.
void scan_columns(const ScanRequest& request, const ScanColumns& columns, const std::vector<double*>& out,
                  std::int8_t* status, long points, Reporter* reporter) {
    const long many = kBlocks * kScanBlock;
    const auto row = [&](long number) {
        std::vector<double> memory(columns.memory()), left(kScanBlock), rest(out.size() * kScanBlock);
        std::unique_ptr<Walker> walker;
        long said = number * many;
        const long end = std::min(points, said + many);
        for (long first = said; first < end; first += kScanBlock) {
            const int count = static_cast<int>(std::min<long>(kScanBlock, end - first));
            double* to[kQuantities] = {};
            for (std::size_t i = 0; i < out.size(); ++i) {
                to[static_cast<int>(request.quantities[i])] =
                    count == kScanBlock ? out[i] + first : rest.data() + i * kScanBlock;
            }
            const bool some_left = columns.block(first, count, memory.data(), to, left.data());
            for (std::size_t i = 0; count < kScanBlock && i < out.size(); ++i) {
                std::copy_n(rest.data() + i * kScanBlock, count, out[i] + first);
            }
            std::fill_n(status + first, count, std::int8_t{0});
            for (int i = 0; some_left && i < count; ++i) {
                if (std::signbit(left[i])) {
                    walker = walker ? std::move(walker) : std::make_unique<Walker>(request);
                    walker->point(index_of(request.shape, first + i), first + i, out, status);
                    reporter->add(first + i - said);
                    said = first + i;
                }
            }
        }
        reporter->add(end - said); // the clock is not asked more often than needed
    };
    parallel_for((points + many - 1) / many, row, request.threads);
}

// One point after another.
void scan_points(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status, Reporter* reporter) {
    const Itinerary itinerary(request);
    const auto run = [&](long number) {
        const long first = number * itinerary.block, last = std::min(first + itinerary.block, itinerary.points);
        std::vector<long> index = itinerary.index(request.shape, first);
        Walker walker(request);
        for (long point = first; point < last; ++point) {
            walker.point(index, place_of(request.shape, index), out, status);
            itinerary.advance(request.shape, &index);
            reporter->add(1);
        }
    };
    parallel_for((itinerary.points + itinerary.block - 1) / itinerary.block, run, request.threads);
}

} // namespace

void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause) {
    Reporter reporter(pause);
    const long points = std::accumulate(request.shape.begin(), request.shape.end(), 1L, std::multiplies<long>());
    if (points == 0) {
        return;
    }
    if (const std::unique_ptr<ScanColumns> columns = ScanColumns::of(request)) {
        scan_columns(request, *columns, out, status, points, &reporter);
    } else {
        scan_points(request, out, status, &reporter);
    }
}

} // namespace fisherfield
