#include "tensors.h"

#include <algorithm>
#include <utility>

namespace slipstick {

namespace {

// DLPack's DLPackExchangeAPI, as of its version 1.
struct ExchangeTable {
    struct {
        uint32_t major, minor;
    } version;
    const void* older;
    void (*unused[3])();  // to allocate a tensor, to own one and to make one Python's
    ReadTensor read;
};

ReadTensor reader_of(nb::handle capsule) {
    if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
    const void* table = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
    const auto& exchange = *static_cast<const ExchangeTable*>(table);
    return exchange.version.major == 1 ? exchange.read : nullptr;
}

nb::tuple tuple_of(const std::vector<int64_t>& numbers) {
    nb::tuple made = nb::steal<nb::tuple>(PyTuple_New(numbers.size()));
    for (size_t i = 0; i < numbers.size(); ++i) PyTuple_SET_ITEM(made.ptr(), i, PyLong_FromLongLong(numbers[i]));
    return made;
}

std::optional<Kind> kind_of(const nb::dlpack::dtype& type) {
    const auto code = static_cast<nb::dlpack::dtype_code>(type.code);
    if (code == nb::dlpack::dtype_code::Float && type.bits == 32) return Kind::float32;
    if (code == nb::dlpack::dtype_code::Float && type.bits == 64) return Kind::float64;
    if (code == nb::dlpack::dtype_code::Bool) return Kind::boolean;
    return std::nullopt;
}

bool is_true(nb::handle x, const char* attribute) {
    const nb::object value = nb::steal(PyObject_GetAttrString(x.ptr(), attribute));
    return value.ptr() == Py_True;
}

std::vector<int64_t> contiguous(const std::vector<int64_t>& shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
    return strides;
}

// From the first byte to behind the last.
std::pair<const char*, const char*> extent(const TensorView& x) {
    int64_t last = 0;
    for (size_t d = 0; d < x.shape.size(); ++d) {
        if (x.shape[d] == 0) return {x.data, x.data};
        last += (x.shape[d] - 1) * x.strides[d];
    }
    const int64_t size = x.kind == Kind::float64 ? 8 : x.kind == Kind::float32 ? 4 : x.kind == Kind::codes ? 2 : 1;
    return {x.data, x.data + (last + 1) * size};
}

}  // namespace

bool Torch::is_tensor(nb::handle x) const {
    return PyObject_TypeCheck(x.ptr(), reinterpret_cast<PyTypeObject*>(tensor.ptr())) != 0;
}

int Torch::floats(nb::handle items) const {
    static PyObject* const dtype = PyUnicode_InternFromString("dtype");
    PyObject* sequence = items.ptr();
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
    int found = 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        const nb::handle item = PySequence_Fast_GET_ITEM(sequence, i);
        if (is_tensor(item)) {
            const nb::object type = nb::steal(PyObject_GetAttr(item.ptr(), dtype));
            if (type.ptr() == float32.ptr() || type.ptr() == float64.ptr())
                found |= 1;
            else if (is_true(type, "is_floating_point") || is_true(type, "is_complex"))
                found |= 2;
        } else if (PyList_Check(item.ptr()) || PyTuple_Check(item.ptr())) {
            found |= floats(item);
        }
    }
    return found;
}

std::optional<TensorView> Torch::view(nb::handle x) const {
    if (is_codes(x)) return nb::cast<const CodeArray&>(x).view();
    nb::dlpack::dltensor seen;
    if (!read || !is_tensor(x)) return std::nullopt;
    if (read(x.ptr(), &seen) != 0) return PyErr_Clear(), std::nullopt;
    const std::optional<Kind> kind = kind_of(seen.dtype);
    if (!kind || seen.dtype.lanes != 1 || seen.device.device_type != nb::device::cpu::value) return std::nullopt;
    return TensorView{*kind, static_cast<char*>(seen.data) + seen.byte_offset,
                      {seen.shape, seen.shape + seen.ndim}, {seen.strides, seen.strides + seen.ndim}};
}

bool spoils(const TensorView& out, const TensorView& x) {
    if (out.data == x.data && out.kind == x.kind && out.shape == x.shape && out.strides == x.strides) return false;
    const auto [begin, end] = extent(out);
    const auto [first, last] = extent(x);
    return begin < last && first < end;
}

Dense dense_of(const TensorView& view) {
    const size_t dims = view.shape.size();
    std::vector<size_t> order;
    for (size_t d = 0; d < dims; ++d)
        if (view.strides[d] != 0) order.push_back(d);
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return view.strides[i] > view.strides[j]; });
    Dense dense;
    dense.strides.assign(dims, 0);
    int64_t total = 1;
    for (size_t i = order.size(); i-- > 0;) {
        dense.strides[order[i]] = total;
        total *= view.shape[order[i]];
    }
    dense.description = {static_cast<int64_t>(view.kind), reinterpret_cast<int64_t>(view.data), 0, total};
    for (size_t d : order)
        dense.description.insert(dense.description.end(), {view.shape[d], view.strides[d], dense.strides[d]});
    return dense;
}

CodeArray fresh_codes(const TensorView& like) {
    TensorView order = like;
    if (std::count(order.strides.begin(), order.strides.end(), 0) > 0) order.strides = contiguous(order.shape);
    int64_t count = 1;
    for (int64_t size : like.shape) count *= size;
    return {like.shape, dense_of(order).strides, allocate(count * sizeof(int16_t))};
}

// Both parts of `Dense`; None where `view` has nothing or a mask.
nb::object dense(const Torch& torch, nb::object x) {
    const auto view = torch.view(x);
    if (!view || view->kind == Kind::boolean) return nb::none();
    const Dense codes = dense_of(*view);
    return nb::make_tuple(tuple_of(codes.description), tuple_of(codes.strides));
}

nb::object Torch::fresh(nb::handle like, bool is_mask) const {
    if (is_codes(like)) {
        const auto& codes = nb::cast<const CodeArray&>(like);
        const nb::object& type = is_mask ? boolean : float32;
        return empty_strided(tuple_of(codes.shape), tuple_of(codes.strides), nb::arg("dtype") = type);
    }
    return is_mask ? empty_like(like, nb::arg("dtype") = boolean) : empty_like(like);
}

nb::object Torch::fresh(const std::vector<int64_t>& shape) const {
    return empty_strided(tuple_of(shape), tuple_of(contiguous(shape)), nb::arg("dtype") = float32);
}

void bind_tensors(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<CodeArray>(m, "CodeArray").def_prop_ro("shape", [](const CodeArray& x) { return tuple_of(x.shape); });
    nb::class_<Torch>(m, "Torch")
        .def("__init__",
             [](Torch* self, nb::object tensor, nb::object float32, nb::object float64, nb::object boolean,
                nb::object empty_like, nb::object empty_strided, nb::object exchange) {
                 new (self) Torch{tensor, float32, float64, boolean, empty_like, empty_strided, reader_of(exchange)};
             },
             "tensor"_a, "float32"_a, "float64"_a, "boolean"_a, "empty_like"_a, "empty_strided"_a, "exchange"_a.none())
        .def("floats", [](const Torch& torch, nb::tuple items) { return torch.floats(items); })
        .def("dense", &dense);
}

}  // namespace slipstick
