// SPDX-License-Identifier: BSD-3-Clause
// How an integral becomes a ufunc: two loops (float32 and float64), a promoter that picks one, and its errors.
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_SSIZE_T_CLEAN
#include "ufuncs.hpp"

#include <algorithm>
#include <cfenv>
#include <exception>
#include <optional>

#include <numpy/arrayobject.h>
#include <numpy/dtype_api.h>
#include <numpy/ufuncobject.h>

namespace fisherfield {

namespace {

// What a ufunc needs and NumPy does not copy; it lives as long as the ufunc, whose `obj` is a capsule around it.
struct Described {
    Task task;
    std::shared_ptr<const Callable> owner;
    std::string name, doc;
    py::object refuse;
    void* data; // NumPy's array of one pointer, to this
};

// The errors that NumPy reports are those of results, not those of lanes that were not picked: the flags from before,
// and overflow.
class FloatingPoint {
public:
    FloatingPoint() { std::fegetexceptflag(&before_, FE_ALL_EXCEPT); }
    FloatingPoint(const FloatingPoint&) = delete;
    FloatingPoint& operator=(const FloatingPoint&) = delete;
    ~FloatingPoint() {
        std::fesetexceptflag(&before_, FE_ALL_EXCEPT);
        if (overflow) {
            std::feraiseexcept(FE_OVERFLOW);
        }
    }
    bool overflow = false;

private:
    std::fexcept_t before_;
};

// Raises for what was received, in the caller's words.
void refuse(const Described& described, const Report& report) {
    const Task& task = described.task;
    const bool outside = report.place >= 0, tabulated = task.table && report.operand == 0;
    Refusal refusal{outside ? Status::ok : report.status,
                    outside ? operand_name(task, report.operand) : "",
                    report.received,
                    outside && tabulated,
                    task.table ? task.table->low() : 0.0,
                    task.table ? task.table->high() : 0.0};
    described.refuse(std::move(refusal));
}

// Leaves `failure` behind as Python's error; this thread has the GIL.
void set_error(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const py::builtin_exception& error) {
        error.set_error();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
}

void check_signals() {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) {
        throw py::error_already_set();
    }
}

// NumPy calls it with the GIL for short arrays, without for long ones. A callable is called from other threads, which
// need it; nothing else does, unless something is refused.
int loop(PyArrayMethod_Context* context, char* const* data, const npy_intp* dimensions, const npy_intp* strides,
         NpyAuxData*) {
    const auto* ufunc = reinterpret_cast<const PyUFuncObject*>(context->caller);
    const auto& described = *static_cast<const Described*>(ufunc->data[0]);
    StridedColumn columns[kMaxOperands + 2];
    for (int i = 0; i < ufunc->nargs; ++i) {
        columns[i] = {data[i], strides[i], context->descriptors[i]->type_num == NPY_FLOAT};
    }
    const auto count = static_cast<std::ptrdiff_t>(dimensions[0]);
    std::exception_ptr failure;
    try {
        Report report;
        {
            std::optional<py::gil_scoped_release> release;
            if (described.owner && PyGILState_Check() == 1) {
                release.emplace();
            }
            FloatingPoint flags;
            report = integrate(described.task, columns, columns + described.task.inputs(), count, &check_signals);
            flags.overflow = report.overflow;
        }
        if (report.place < 0 && report.status == Status::ok) {
            return 0;
        }
        const py::gil_scoped_acquire gil;
        refuse(described, report);
    } catch (...) {
        failure = std::current_exception();
    }
    const PyGILState_STATE gil = PyGILState_Ensure();
    set_error(failure);
    failure = nullptr; // while there is the GIL
    PyGILState_Release(gil);
    return -1;
}

// float32 where NumPy's promotion of the operands gives it (or float16); float64 for other real numbers.
int promote(PyObject* self, PyArray_DTypeMeta* const* operands, PyArray_DTypeMeta* const* signature,
            PyArray_DTypeMeta** chosen) {
    const auto* ufunc = reinterpret_cast<const PyUFuncObject*>(self);
    PyArray_DTypeMeta* type = nullptr;
    for (int i = 0; i < ufunc->nargs && type == nullptr; ++i) {
        type = signature[i];
    }
    if (type == nullptr) {
        PyArray_DTypeMeta* inputs[kMaxOperands];
        std::copy_n(operands, ufunc->nin, inputs);
        const bool boolean = std::find(inputs, inputs + ufunc->nin, &PyArray_BoolDType) != inputs + ufunc->nin;
        PyArray_DTypeMeta* common = PyArray_PromoteDTypeSequence(ufunc->nin, inputs);
        if (common == nullptr) {
            return -1;
        }
        const int number = common->type_num;
        const bool single = number == NPY_FLOAT || number == NPY_HALF;
        const bool real = PyTypeNum_ISINTEGER(number) || PyTypeNum_ISFLOAT(number) || common == &PyArray_PyLongDType ||
                          common == &PyArray_PyFloatDType;
        Py_DECREF(common);
        if (boolean || (!real && !single)) {
            PyErr_Format(PyExc_TypeError, "%s needs real numbers", ufunc->name);
            return -1;
        }
        type = single ? &PyArray_FloatDType : &PyArray_DoubleDType;
    }
    for (int i = 0; i < ufunc->nargs; ++i) {
        Py_INCREF(type);
        chosen[i] = type;
    }
    return 0;
}

void add_loop(PyObject* ufunc, const Task& task, PyArray_DTypeMeta* type) {
    PyArray_DTypeMeta* types[kMaxOperands + 2];
    std::fill(types, types + kMaxOperands + 2, type);
    PyType_Slot slots[] = {{NPY_METH_strided_loop, reinterpret_cast<void*>(&loop)}, {0, nullptr}};
    PyArrayMethod_Spec spec{};
    spec.name = "gaussian_integral";
    spec.nin = task.inputs();
    spec.nout = task.outputs();
    spec.casting = NPY_NO_CASTING;
    spec.flags = static_cast<NPY_ARRAYMETHOD_FLAGS>(0);
    spec.dtypes = types;
    spec.slots = slots;
    if (PyUFunc_AddLoopFromSpec(ufunc, &spec) < 0) {
        throw py::error_already_set();
    }
}

void add_promoter(PyObject* ufunc, int operands) {
    // any type whatever
    py::tuple types(operands);
    for (int i = 0; i < operands; ++i) {
        types[i] = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(&PyArrayDescr_Type));
    }
    const py::object capsule = py::reinterpret_steal<py::object>(
        PyCapsule_New(reinterpret_cast<void*>(&promote), "numpy._ufunc_promoter", nullptr));
    if (PyUFunc_AddPromoter(ufunc, types.ptr(), capsule.ptr()) < 0) {
        throw py::error_already_set();
    }
}

void import_numpy() {
    static const bool imported = [] {
        if (_import_array() < 0 || _import_umath() < 0) {
            throw py::error_already_set();
        }
        return true;
    }();
    static_cast<void>(imported);
}

} // namespace

py::object make_ufunc(const Task& task, std::shared_ptr<const Callable> owner, const std::string& name,
                      const std::string& doc, py::object refuse) {
    import_numpy();
    auto described =
        std::make_unique<Described>(Described{task, std::move(owner), name, doc, std::move(refuse), nullptr});
    described->data = described.get();
    PyObject* made = PyUFunc_FromFuncAndData(nullptr, nullptr, nullptr, 0, task.inputs(), task.outputs(), PyUFunc_None,
                                             described->name.c_str(), described->doc.c_str(), 0);
    if (made == nullptr) {
        throw py::error_already_set();
    }
    py::object ufunc = py::reinterpret_steal<py::object>(made);
    auto* fields = reinterpret_cast<PyUFuncObject*>(made);
    fields->data = &described->data;
    fields->obj =
        py::capsule(described.release(), [](void* held) { delete static_cast<Described*>(held); }).release().ptr();
    add_loop(made, task, &PyArray_FloatDType);
    add_loop(made, task, &PyArray_DoubleDType);
    add_promoter(made, task.inputs() + task.outputs());
    return ufunc;
}

} // namespace fisherfield
