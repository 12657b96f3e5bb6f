// A chain on PyTorch's tensors as they come: shapes, memory and constants settled here, where a call costs a
// microsecond or two. What is out of the ordinary is left to Python, which does the same with more words.
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "tensors.h"

namespace nb = nanobind;

namespace slipstick {

namespace {

using Longs = std::vector<int64_t>;

constexpr int64_t kQuick = 1 << 12;  // elements that take less time than handing the interpreter's lock over and back

struct Inputs {
    std::vector<nb::handle> tensors;
    std::vector<TensorView> views;
    std::vector<Array> arrays;
    Longs shape;

    // Where results take their memory order from: the first tensor of the whole shape.
    size_t like() const {
        size_t i = 0;
        while (i < views.size() && views[i].shape != shape) ++i;
        return i;
    }
};

bool broadcast(const Longs& shape, Longs& wide) {
    if (shape.size() > wide.size()) wide.insert(wide.begin(), shape.size() - wide.size(), 1);
    const size_t lead = wide.size() - shape.size();
    for (size_t d = 0; d < shape.size(); ++d) {
        int64_t& size = wide[lead + d];
        if (shape[d] == size || shape[d] == 1) continue;
        if (size != 1) return false;
        size = shape[d];
    }
    return true;
}

// Strides over `shape`, 0 where the tensor is broadcast.
Array strided(const TensorView& view, const Longs& shape) {
    Array array;
    array.kind = view.kind;
    array.data = view.data;
    array.strides.assign(shape.size(), 0);
    const size_t lead = shape.size() - view.shape.size();
    for (size_t d = 0; d < view.shape.size(); ++d)
        if (view.shape[d] == shape[lead + d]) array.strides[lead + d] = view.strides[d];
    return array;
}

// Tensors of one floating type or codes, which go with float32, masks where masks belong, and constants whose codes are
// known; else false.
bool read_inputs(const Torch& torch, const Program& program, nb::tuple arguments, nb::dict codes, Inputs& read) {
    if (arguments.size() != program.conditions.size()) return false;
    std::vector<int> place(arguments.size(), -1);
    read.arrays.resize(arguments.size());
    Kind number = Kind::boolean;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const nb::handle argument = arguments[i];
        if (!torch.is_tensor(argument) && !torch.is_codes(argument)) {
            PyObject* code = PyDict_GetItemWithError(codes.ptr(), argument.ptr());
            if (!code || program.conditions[i]) return PyErr_Clear(), false;
            read.arrays[i].kind = Kind::constant;
            read.arrays[i].constant = static_cast<int32_t>(PyLong_AsLong(code));
            continue;
        }
        auto view = torch.view(argument);
        if (!view || (view->kind == Kind::boolean) != program.conditions[i]) return false;
        if (!program.conditions[i]) {
            const Kind kind = view->kind == Kind::codes ? Kind::float32 : view->kind;
            if (number != Kind::boolean && number != kind) return false;
            number = kind;
        }
        if (!broadcast(view->shape, read.shape)) return false;
        place[i] = static_cast<int>(read.views.size());
        read.tensors.push_back(argument);
        read.views.push_back(std::move(*view));
    }
    if (number == Kind::boolean) return false;
    for (size_t i = 0; i < place.size(); ++i)
        if (place[i] >= 0) read.arrays[i] = strided(read.views[place[i]], read.shape);
    return true;
}

// Where results go: new codes for None, new tensors for an empty tuple, else what it is.
enum class Out { codes, tensors, given };

Out kind_of(nb::handle out) {
    if (out.is_none()) return Out::codes;
    return PyTuple_Check(out.ptr()) && PyTuple_GET_SIZE(out.ptr()) == 0 ? Out::tensors : Out::given;
}

// New codes, which float64 and formats of more than 16 bits do not have, and masks neither; else an empty list.
std::vector<nb::object> make_codes(const Arithmetic& arithmetic, const Program& program, const TensorView& like) {
    if (arithmetic.operand.width() > 16 || like.kind == Kind::float64) return {};
    std::vector<nb::object> results;
    for (bool is_mask : program.masks) {
        if (is_mask) return {};
        results.push_back(nb::cast(fresh_codes(like)));
    }
    return results;
}

// An empty list where there is no saying.
std::vector<nb::object> make_results(const Torch& torch, const Arithmetic& arithmetic, const Program& program,
                                     const Inputs& read, nb::object out) {
    const Out wanted = kind_of(out);
    std::vector<nb::object> results;
    if (wanted == Out::given) {
        if (torch.is_tensor(out)) return {out};
        for (nb::handle each : out) results.push_back(nb::borrow(each));
        return results;
    }
    const size_t like = read.like();
    if (like == read.views.size() || read.views[like].kind == Kind::boolean) return {};
    if (wanted == Out::codes) return make_codes(arithmetic, program, read.views[like]);
    for (bool is_mask : program.masks) results.push_back(torch.fresh(read.tensors[like], is_mask));
    return results;
}

// Where results go. False also where writing one could spoil an argument.
bool describe_results(const Torch& torch, const Program& program, const std::vector<nb::object>& results, bool are_new,
                      const Inputs& read, std::vector<Array>& arrays) {
    if (results.empty() || results.size() != program.masks.size()) return false;
    for (size_t i = 0; i < results.size(); ++i) {
        const auto view = torch.view(results[i]);
        if (!view || view->shape != read.shape || (view->kind == Kind::boolean) != program.masks[i]) return false;
        for (size_t k = 0; k < read.views.size() && !are_new; ++k)
            if (spoils(*view, read.views[k])) return false;
        arrays.push_back(strided(*view, read.shape));
    }
    return true;
}

// out: see `Out`.
// Gives the result or the tuple of results; the status, an integer, where it is not good; None where Python shall do it.
nb::object call_chain(const Torch& torch, const Arithmetic& arithmetic, const Program& program, nb::tuple arguments,
                      nb::object out, nb::dict codes, const Longs& tables, int threads) {
    Inputs read;
    if (!read_inputs(torch, program, arguments, codes, read)) return nb::none();
    std::vector<nb::object> results = make_results(torch, arithmetic, program, read, out);
    Chain chain{&arithmetic, &program, read.shape, std::move(read.arrays), {}, {}};
    const bool are_new = kind_of(out) != Out::given;
    if (!describe_results(torch, program, results, are_new, read, chain.outputs)) return nb::none();
    for (int64_t table : tables) chain.tables.push_back(reinterpret_cast<const int32_t*>(table));
    int64_t elements = 1;
    for (int64_t size : read.shape) elements *= size;
    int32_t status;
    if (elements <= kQuick) {
        status = run_chain(std::move(chain), threads);
    } else {
        nb::gil_scoped_release release;
        status = run_chain(std::move(chain), threads);
    }
    if (status != kOk) return nb::int_(status);
    if (!are_new) return out;
    if (results.size() == 1) return results[0];
    nb::list several;
    for (nb::object& result : results) several.append(result);
    return nb::tuple(several);
}

}  // namespace

void bind_chain_call(nb::module_& m) {
    using namespace nb::literals;
    m.def("call_chain", &call_chain, "torch"_a, "arithmetic"_a, "program"_a, "arguments"_a, "out"_a.none(), "codes"_a,
          "tables"_a, "threads"_a);
}

}  // namespace slipstick
