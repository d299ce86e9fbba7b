// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "blas.hpp"
#include "finite/add.hpp"
#include "finite/affine.hpp"
#include "finite/flatten.hpp"
#include "finite/linearization.hpp"
#include "finite/makers.hpp"
#include "finite/norms.hpp"
#include "finite/phi.hpp"
#include "finite/pools.hpp"
#include "fisherfield/conversion.hpp"
#include "scipy_routines.hpp"

namespace fisherfield {

namespace {

template <class T>
void load_blas() {
    Blas<T>& blas = Blas<T>::in_use();
    if (!blas.gemm) {
        const bool twice = sizeof(T) == 8;
        take_routine("cython_blas", twice ? "dsyrk" : "ssyrk", &blas.syrk);
        take_routine("cython_blas", twice ? "dgemm" : "sgemm", &blas.gemm);
    }
}

template <class T>
struct LinearizationHandle {
    using Array = py::array_t<T, py::array::c_style | kAligned>; // never of another type: that would be a mistake

    finite_network::Linearization<T> linearization;
    finite_network::Statistics statistics;
    bool biases;                                         // are parameters, where they are trained
    int last = finite_network::Linearization<T>::kInput; // the node whose values the next layer reads
    std::uint64_t seed = 0;                              // of layers that draw random numbers
    std::vector<std::shared_ptr<const Callable>> owners;
    // Passes write to the linearization's own memory: one at a time. Taken without the GIL, which callables may want.
    std::unique_ptr<std::mutex> busy = std::make_unique<std::mutex>();

    LinearizationHandle(const std::vector<int>& shape, bool mean, bool variance, bool biases)
        : linearization({shape[0], shape.size() == 3 ? Pair{shape[1], shape[2]} : Pair{1, 1}}),
          statistics{mean, variance}, biases(biases) {
        load_blas<T>();
    }

    const finite_network::Image& shape() const { return linearization.shape(last); }
    void put(std::unique_ptr<finite_network::Map<T>> map, std::vector<int> inputs) {
        linearization.add(std::move(map), std::move(inputs));
        last = linearization.size() - 1;
    }
    void put(std::unique_ptr<finite_network::Map<T>> map) { put(std::move(map), {last}); }

    // The next layer reads what this node gives; -1: the network's input.
    void read_next(int node) { last = checked(node); }
    int checked(int node) const {
        if (node < -1 || node >= linearization.size()) {
            throw std::invalid_argument("a node must be in [-1, " + std::to_string(linearization.size()) + "), got " +
                                        std::to_string(node));
        }
        return node;
    }

    // Layers in order, with weights and vectors as PyTorch has them; all are copied. Weights (units, inputs) read
    // whatever there is: flattening needs no word. Weights (channels, inputs, height, width) say how many groups of so
    // many inputs there are.
    void affine(const Array& weights, const Array& biases_of_units, bool trained, const Pair& stride,
                const Pair& padding, const Pair& dilation) {
        const finite_network::AffineParameters<T> parameters{weights.data(), biases_of_units.data(), biases && trained};
        const int units = static_cast<int>(weights.shape(0));
        if (weights.ndim() == 2) {
            put(finite_network::Affine<T>::dense(shape(), units, parameters));
            return;
        }
        const Pair kernel{static_cast<int>(weights.shape(2)), static_cast<int>(weights.shape(3))};
        const int groups = groups_of(weights, shape().channels);
        put(finite_network::Affine<T>::conv2d(shape(), units, groups, {kernel, stride, padding, dilation}, parameters));
    }
    // Of as many channels as the weights read.
    static int groups_of(const Array& weights, int channels) {
        const auto read = static_cast<int>(weights.shape(1)), groups = read > 0 ? channels / read : 0;
        if (groups < 1 || groups * read != channels || weights.shape(0) % groups != 0) {
            throw std::invalid_argument("weights must be (C_out, " + std::to_string(channels) +
                                        "/groups, height, width) with groups that divide C_out, got " +
                                        std::to_string(weights.shape(0)) + " and " + std::to_string(read) +
                                        " channels");
        }
        return groups;
    }
    // A gamma for each unit of an image: it was flattened.
    void batch_norm(const Array& gamma, const Array& beta, double eps, bool trained) {
        if (gamma.size() != shape().channels && gamma.size() == shape().units()) {
            last = flat(last);
        }
        put(std::make_unique<finite_network::BatchNorm<T>>(shape(), gamma.data(), beta.data(), eps, trained,
                                                           statistics));
    }
    void activation(const ActivationHandle& activation) {
        put(std::make_unique<finite_network::Phi<T>>(shape(), activation.activation));
        if (activation.owner) {
            owners.push_back(activation.owner);
        }
    }
    void average_pool(const Pair& kernel, const Pair& stride, const Pair& padding) {
        put(std::make_unique<finite_network::AveragePool<T>>(shape(), Windows{kernel, stride, padding}));
    }

    // A kind of the table in finite/makers.hpp, by its name.
    void layer(const std::string& kind, const finite_network::Numbers& numbers, const std::vector<Array>& arrays,
               bool trained) {
        finite_network::Arrays<T> spans;
        for (const Array& array : arrays) {
            spans.emplace_back(array.data(), static_cast<std::size_t>(array.size()));
        }
        put(finite_network::made<T>(kind, shape(), numbers, spans, trained));
    }

    // The node itself, or one that gives its units as those of one position.
    int flat(int node) {
        if (linearization.shape(node).positions() == 1) {
            return node;
        }
        put(std::make_unique<finite_network::Flatten<T>>(linearization.shape(node)), {node});
        return last;
    }

    // An image among flat inputs was flattened.
    void add(std::vector<int> inputs) {
        const auto is_flat = [&](int node) { return linearization.shape(node).positions() == 1; };
        bool flattened = false;
        for (const int node : inputs) {
            flattened = is_flat(checked(node)) || flattened;
        }
        const finite_network::Image first = linearization.shape(inputs.at(0));
        for (const int node : inputs) {
            const finite_network::Image& shape = linearization.shape(node);
            const bool same = shape.channels == first.channels && shape.size == first.size;
            if (!same && !(flattened && shape.units() == first.units())) {
                throw std::invalid_argument("inputs of a sum must have one shape, got those of nodes " +
                                            std::to_string(inputs.front()) + " and " + std::to_string(node));
            }
        }
        for (int& node : inputs) {
            node = flattened ? flat(node) : node;
        }
        put(std::make_unique<finite_network::Add<T>>(linearization.shape(inputs.front())), inputs);
    }

    template <class X>
    Array forward(const py::array_t<X, py::array::c_style>& x, double workspace, bool keep, double noise,
                  std::uint64_t seed) {
        Array outputs({x.shape(0), static_cast<py::ssize_t>(linearization.outputs())});
        T* to = outputs.mutable_data();
        const finite_network::Pass pass{x.shape(0), saturated<std::size_t>(workspace), keep, noise, seed};
        const py::gil_scoped_release release;
        const std::lock_guard lock(*busy);
        linearization.forward(x.data(), pass, to);
        return outputs;
    }

    void prepare(double products, double bytes) {
        const py::gil_scoped_release release;
        const std::lock_guard lock(*busy);
        linearization.prepare(products, saturated<std::size_t>(bytes));
    }

    // (m, n C) to (m, P) by J^T, and so on, one row after the other
    using Operator = void (finite_network::Linearization<T>::*)(const T*, T*);
    template <Operator apply>
    Array applied(const Array& rows, long size) {
        Array result({rows.shape(0), static_cast<py::ssize_t>(size)});
        const T* from = rows.data();
        T* to = result.mutable_data();
        const long length = rows.shape(1), count = rows.shape(0);
        const py::gil_scoped_release release;
        const std::lock_guard lock(*busy);
        for (long row = 0; row < count; ++row) {
            (linearization.*apply)(from + row * length, to + row * size);
        }
        return result;
    }
    long duals() const { return linearization.samples() * linearization.outputs(); }
    Array pull(const Array& w) {
        return applied<&finite_network::Linearization<T>::pull>(w, linearization.parameters());
    }
    Array push(const Array& v) { return applied<&finite_network::Linearization<T>::push>(v, duals()); }
    Array product(const Array& w) { return applied<&finite_network::Linearization<T>::product>(w, duals()); }
    Array product_of_last(const Array& w) {
        return applied<&finite_network::Linearization<T>::product_of_last>(w, duals());
    }

    Array gram() {
        Array result({static_cast<py::ssize_t>(duals()), static_cast<py::ssize_t>(duals())});
        T* to = result.mutable_data();
        const py::gil_scoped_release release;
        const std::lock_guard lock(*busy);
        linearization.gram(to);
        return result;
    }
};

template <class T>
void bind(py::module_& module, const char* name) {
    using Handle = LinearizationHandle<T>;
    py::class_<Handle> bound(module, name);
    if constexpr (sizeof(T) == 4) { // as it is; what is neither float32 nor float64 is converted to float64
        bound.def("forward", &Handle::template forward<float>, py::arg("x").noconvert(), py::arg("workspace"),
                  py::arg("keep"), py::arg("noise") = 0.0, py::arg("seed") = 0);
    }
    bound
        .def(py::init<const std::vector<int>&, bool, bool, bool>(), py::arg("input_shape"), py::arg("mean"),
             py::arg("variance"), py::arg("biases"))
        .def("affine", &Handle::affine, py::arg("weights"), py::arg("biases"), py::arg("trained"),
             py::arg("stride") = Pair{1, 1}, py::arg("padding") = Pair{0, 0}, py::arg("dilation") = Pair{1, 1})
        .def("batch_norm", &Handle::batch_norm, py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::arg("trained"))
        .def("activation", &Handle::activation, py::arg("activation"))
        .def("average_pool", &Handle::average_pool, py::arg("kernel"), py::arg("stride"),
             py::arg("padding") = Pair{0, 0})
        .def("layer", &Handle::layer, py::arg("kind"), py::arg("numbers"), py::arg("arrays"), py::arg("trained"),
             "a layer that its numbers and arrays (in PyTorch's order) make")
        .def("add", &Handle::add, py::arg("inputs"), "the sum of what these nodes give; -1: the network's input")
        .def_property(
            "last", [](const Handle& self) { return self.last; }, &Handle::read_next,
            "the node whose values the next layer reads; -1: the network's input")
        .def_readwrite("seed", &Handle::seed, "of layers that draw random numbers")
        .def_property_readonly("nodes", [](const Handle& self) { return self.linearization.size(); })
        .def("forward", &Handle::template forward<double>, py::arg("x"), py::arg("workspace"), py::arg("keep"),
             py::arg("noise") = 0.0, py::arg("seed") = 0)
        .def("prepare", &Handle::prepare, py::arg("products"), py::arg("bytes"))
        .def("pull", &Handle::pull, py::arg("w"))
        .def("push", &Handle::push, py::arg("v"))
        .def("product", &Handle::product, py::arg("w"))
        .def("product_of_last", &Handle::product_of_last, py::arg("w"))
        .def("gram", &Handle::gram)
        .def(
            "bytes", [](const Handle& self, long samples) { return self.linearization.bytes(samples); },
            py::arg("samples"))
        .def_property_readonly("parameters", [](const Handle& self) { return self.linearization.parameters(); })
        .def_property_readonly("coupled", [](const Handle& self) { return self.linearization.coupled(); })
        .def_property_readonly("forward_flops", [](const Handle& self) { return self.linearization.forward_flops(); })
        .def_property_readonly("product_flops", [](const Handle& self) { return self.linearization.product_flops(); })
        .def_property_readonly("gram_flops", [](const Handle& self) { return self.linearization.gram_flops(); });
}

} // namespace

void bind_sampled(py::module_& module) {
    bind<double>(module, "Linearization64");
    bind<float>(module, "Linearization32");
}

} // namespace fisherfield
