// SPDX-License-Identifier: BSD-3-Clause
#include "scan.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "columns.hpp"
#include "evaluate.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The first node that has to be computed anew where the slot's value changes; beyond the last one if none has.
int first_node(const ScanRequest& request, const Slot& slot) {
    const std::vector<Node>& nodes = request.network.nodes;
    const int count = static_cast<int>(nodes.size());
    const auto first = [&](const auto& is) {
        return static_cast<int>(std::find_if(nodes.begin(), nodes.end(), is) - nodes.begin());
    };
    switch (slot.point) {
    case PointNumber::none:
        return std::accumulate(slot.places.begin(), slot.places.end(), count,
                               [](int least, const Place& place) { return std::min(least, place.node); });
    case PointNumber::width:
        return first([](const Node& node) { return node.layer > 0; });
    case PointNumber::samples:
        return first(
            [&](const Node& node) { return request.settings.theory == Theory::exact && row_of(node.kind).on_samples; });
    case PointNumber::momentum:
        return count;
    default:
        return 0;
    }
}

// One point after another, each from the first node on whose parameters differ from the last point's.
class Walker {
public:
    explicit Walker(const ScanRequest& request)
        : request_(request), network_(request.network), settings_(request.settings), descent_(request.descent),
          count_(static_cast<int>(network_.nodes.size())), normalised_(network_.normalised()),
          values_(request.slots.size(), kNaN) {
        outlier_from_ = outlier_from();
        layered_ = std::any_of(request.quantities.begin(), request.quantities.end(), of_layers);
        parted_ = std::any_of(request.quantities.begin(), request.quantities.end(),
                              [](Quantity which) { return which >= Quantity::part_a; });
    }

    // The quantities of the point at `index`, number `place` of the box.
    void point(const std::vector<long>& index, long place, const std::vector<double*>& out, std::int8_t* status) {
        move_to(index);
        Status result = run();
        const bool known = result == Status::ok;
        const Point at = at_hand();
        for (std::size_t i = 0; i < out.size(); ++i) {
            const Quantity which = request_.quantities[i];
            const bool layered = of_layers(which);
            for (int l = 0; l < (layered ? network_.layers : 1); ++l) {
                const Scaled value = !known    ? Scaled(kNaN)
                                     : layered ? of_layer(which, l)
                                               : quantity(which, output_.kernel, at);
                out[i][layered ? place * network_.layers + l : place] = value.value();
                result = known && beyond_range(which, value, output_.kernel, at) ? Status::beyond_range : result;
            }
        }
        result =
            result == Status::ok && undecided(output_.kernel, at.outlier_from) ? Status::edge_not_computed : result;
        status[place] = static_cast<std::int8_t>(result);
    }

private:
    // Takes the parameters over; all of them where one is another, for a later slot may hide an earlier one.
    void move_to(const std::vector<long>& index) {
        bool moved = false, resized = false;
        for (std::size_t i = 0; i < request_.slots.size(); ++i) {
            const double value = request_.slots[i].plane.at(index);
            if (!(value == values_[i])) {
                values_[i] = value;
                done_ = std::min(done_, first_node(request_, request_.slots[i]));
                moved = true;
                const PointNumber point = request_.slots[i].point;
                resized = resized || point == PointNumber::width || point == PointNumber::samples;
            }
        }
        for (std::size_t i = 0; moved && i < request_.slots.size(); ++i) {
            for (const Place& place : request_.slots[i].places) {
                const Node& described = request_.network.nodes[place.node];
                network_.nodes[place.node].numbers[place.number] = described.numbers[place.number];
            }
        }
        for (std::size_t i = 0; moved && i < request_.slots.size(); ++i) {
            set(request_.slots[i], values_[i]);
        }
        outlier_from_ = resized ? outlier_from() : outlier_from_;
    }

    double outlier_from() const {
        const auto node = [&](int i) -> const Node& { return network_.nodes[i]; };
        const double count = parameters(node, count_, settings_.biases);
        return fisherfield::outlier_from(node, count_, settings_, request_.edges, network_.outputs(), count);
    }

    void set(const Slot& slot, double value) {
        for (const Place& place : slot.places) {
            double& number = network_.nodes[place.node].numbers[place.number];
            number = place.factor ? number * value : value;
        }
        switch (slot.point) {
        case PointNumber::width:
            return network_.widen(value);
        case PointNumber::samples:
            settings_.samples = value;
            break;
        case PointNumber::overlap:
            settings_.overlap = value;
            break;
        case PointNumber::length:
            settings_.length = value;
            break;
        case PointNumber::momentum:
            descent_.momentum = value;
            break;
        case PointNumber::none:
            break;
        }
    }

    Status run() {
        if (!settings_.admissible(normalised_)) {
            return Status::inadmissible;
        }
        if (done_ < count_ || !ran_) {
            kept_.first = done_;
            output_ = evaluate(network_, settings_, layered_ ? &rows_ : nullptr, &kept_);
            if (output_.status == Status::ok && parted_) {
                parts_ = contributions(network_, settings_, kept_);
            }
            ran_ = output_.status == Status::ok;
            done_ = ran_ ? count_ : output_.node;
        }
        return output_.status;
    }

    Point at_hand() const {
        const auto node = [&](int i) -> const Node& { return network_.nodes[i]; };
        const double count = parameters(node, count_, settings_.biases);
        return {settings_, descent_, request_.loss, network_.outputs(), count, outlier_from_};
    }

    Scaled of_layer(Quantity which, int l) const {
        return which == Quantity::part_a   ? parts_[l].o + parts_[l].d
               : which == Quantity::part_b ? parts_[l].o
                                           : quantity(which, rows_[l]);
    }

    const ScanRequest& request_;
    Network network_;
    Settings settings_;
    Descent descent_;
    int count_;
    bool normalised_, layered_, parted_;
    double outlier_from_ = -HUGE_VAL;
    std::vector<double> values_; // of the slots, as they were taken over last
    int done_ = 0;               // nodes before this one need not be computed again
    bool ran_ = false;
    Output output_;
    KeptStates kept_;
    std::vector<Row> rows_;
    std::vector<TangentKernel<Scaled>> parts_;
};

// The order in which points are visited: what acts on early nodes changes least often.
struct Itinerary {
    std::vector<int> axes; // outermost first
    long points = 1;
    long block = 1; // points that one thread visits in one go

    explicit Itinerary(const ScanRequest& request) : axes(request.shape.size()) {
        const int count = static_cast<int>(request.network.nodes.size()), positional = request.network.positional();
        std::vector<int> affected(request.shape.size(), count);
        for (const Slot& slot : request.slots) {
            for (std::size_t axis = 0; axis < request.shape.size(); ++axis) {
                if (slot.plane.strides[axis] != 0) {
                    affected[axis] = std::min(affected[axis], first_node(request, slot));
                }
            }
        }
        std::iota(axes.begin(), axes.end(), 0);
        std::stable_sort(axes.begin(), axes.end(), [&](int x, int y) { return affected[x] < affected[y]; });
        points = points_of(request.shape);
        // Whole runs of what shares the positions; else as many as to hide what a block costs.
        long shared = 1;
        for (auto axis = axes.rbegin(); axis != axes.rend() && affected[*axis] >= std::max(positional, 1); ++axis) {
            shared *= request.shape[*axis];
        }
        block = std::min(std::max(shared, positional > 0 ? 1L : 64L), 4096L);
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
        std::vector<double> memory(columns.memory()), outside(kScanBlock), rest(out.size() * kScanBlock);
        std::unique_ptr<Walker> walker;
        long reported = number * many;
        const long end = std::min(points, reported + many);
        for (long first = reported; first < end; first += kScanBlock) {
            const int count = static_cast<int>(std::min<long>(kScanBlock, end - first));
            double* to[kQuantities] = {};
            for (std::size_t i = 0; i < out.size(); ++i) {
                to[static_cast<int>(request.quantities[i])] =
                    count == kScanBlock ? out[i] + first : rest.data() + i * kScanBlock;
            }
            const bool some_marked = columns.block(first, count, memory.data(), to, outside.data());
            for (std::size_t i = 0; count < kScanBlock && i < out.size(); ++i) {
                std::copy_n(rest.data() + i * kScanBlock, count, out[i] + first);
            }
            std::fill_n(status + first, count, std::int8_t{0});
            for (int i = 0; some_marked && i < count; ++i) {
                if (outside[i] > 0.0) {
                    status[first + i] = static_cast<std::int8_t>(Status::edge_not_computed);
                } else if (std::signbit(outside[i])) {
                    walker = walker ? std::move(walker) : std::make_unique<Walker>(request);
                    walker->point(index_of(request.shape, first + i), first + i, out, status);
                    reporter->add(first + i - reported);
                    reported = first + i;
                }
            }
        }
        reporter->add(end - reported); // the clock is not asked more often than needed
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

bool Slot::holds(int node, int number) const {
    return std::any_of(places.begin(), places.end(),
                       [&](const Place& place) { return place.node == node && place.number == number; });
}

Slot slot_of(const Network& network, const std::string& name, int place, Plane plane) {
    Slot slot{PointNumber::none, {}, std::move(plane)};
    const auto at = std::find(std::begin(kPointNumbers), std::end(kPointNumbers), name);
    if (at != std::end(kPointNumbers) && !name.empty()) {
        slot.point = static_cast<PointNumber>(at - std::begin(kPointNumbers));
        return slot;
    }
    const std::string_view scale = "_scale";
    const bool factor = name.ends_with(scale); // units' own numbers, too
    const std::string number_name = factor ? name.substr(0, name.size() - scale.size()) : name;
    bool known = false;
    for (const LayerRow& row : kLayerRows) {
        known = known || row.place_of(number_name) >= 0;
    }
    if (!known) {
        throw std::invalid_argument("a scan varies no " + name);
    }
    for (int i = 0; i < static_cast<int>(network.nodes.size()); ++i) {
        const int number = row_of(network.nodes[i].kind).place_of(number_name);
        if (number >= 0 && (factor || (network.nodes[i].fixed >> number & 1) == 0) &&
            (place < 0 || network.nodes[i].place == place)) {
            slot.places.push_back({i, number, factor});
        }
    }
    return slot;
}

bool Slot::scales() const {
    return std::any_of(places.begin(), places.end(), [](const Place& place) { return place.factor; });
}

const Slot* slot_of(const std::vector<Slot>& slots, PointNumber point) {
    const auto at = std::find_if(slots.rbegin(), slots.rend(), [&](const Slot& each) { return each.point == point; });
    return at == slots.rend() ? nullptr : &*at;
}

const Slot* slot_of(const std::vector<Slot>& slots, int node, int number) {
    const auto at =
        std::find_if(slots.rbegin(), slots.rend(), [&](const Slot& each) { return each.holds(node, number); });
    return at == slots.rend() ? nullptr : &*at;
}

void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause) {
    Reporter reporter(pause);
    const long points = points_of(request.shape);
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
