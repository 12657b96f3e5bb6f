// Dispatch of the elementwise kernels and their Python bindings.
#include "elementwise.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "chain.h"
#include "isa.h"

namespace nb = nanobind;

namespace slipstick {

namespace portable { extern const ElementwiseKernels kElementwise; }
#if defined(SLIPSTICK_X86)
namespace avx2 { extern const ElementwiseKernels kElementwise; }
namespace avx512 { extern const ElementwiseKernels kElementwise; }
#endif

const ElementwiseKernels& elementwise_kernels() {
#if defined(SLIPSTICK_X86)
    if (current_isa() == Isa::avx512) return avx512::kElementwise;
    if (current_isa() == Isa::avx2) return avx2::kElementwise;
#endif
    return portable::kElementwise;
}

namespace {

template <typename T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Longs = std::vector<int64_t>;

template <typename T>
std::vector<T> copy(const Vector<T>& from) {
    return std::vector<T>(from.data(), from.data() + from.size());
}

// A table of 2^n entries that is indexed modulo its size, filled up to kSmallestTable by repetition.
void repeat(std::vector<int32_t>& table) {
    const size_t size = table.size();
    for (size_t i = size; i < kSmallestTable; ++i) table.push_back(table[i % size]);
}

AdderTables adder_tables(const Vector<int32_t>& plus, const Vector<int32_t>& minus) {
    if (plus.size() != minus.size() || plus.size() == 0) throw std::invalid_argument("adder tables of unequal length");
    AdderTables tables{copy(plus), copy(minus), {}, {}};
    bool fits = true;
    for (size_t d = 0; d < plus.size(); ++d)
        for (int32_t value : {tables.plus[d], tables.minus[d]}) {
            tables.joint.push_back(value);
            tables.narrow.push_back(value == kCancel ? kNarrowCancel : static_cast<int16_t>(value));
            fits &= value == kCancel || (value > INT16_MIN / 2 && value <= INT16_MAX / 2);
        }
    if (!fits) tables.narrow.clear();
    return tables;
}

std::shared_ptr<Arithmetic> make_arithmetic(Format operand, Format accumulator, Vector<int32_t> encode_float,
                                            int float_shift, Vector<int64_t> encode_double, int double_shift,
                                            Vector<int32_t> decode, Vector<int32_t> plus, Vector<int32_t> minus,
                                            Vector<int32_t> accumulator_plus, Vector<int32_t> accumulator_minus,
                                            const std::string& order, int order_size) {
    auto made = std::make_shared<Arithmetic>();
    made->operand = operand;
    made->accumulator = accumulator;
    made->encode_float = {copy(encode_float), float_shift};
    made->encode_double = {copy(encode_double), double_shift};
    made->decode = copy(decode);
    made->adder = adder_tables(plus, minus);
    made->accumulator_adder = adder_tables(accumulator_plus, accumulator_minus);
    made->order.kind = order == "sequential" ? OrderKind::sequential
                       : order == "blocked"  ? OrderKind::blocked
                                             : OrderKind::tree;
    made->order.size = order_size;
    made->carrier_bytes = make_carrier_bytes(*made);
    repeat(made->encode_float.offsets);
    repeat(made->decode);
    made->gemm_plan = make_gemm_plan(*made);
    return made;
}

Program make_program(int inputs, int registers, const Longs& steps, const Longs& outputs, const Longs& conditions,
                     const std::vector<bool>& masks) {
    Program program;
    program.inputs = inputs;
    program.registers = registers;
    for (size_t i = 0; i + 6 <= steps.size(); i += 6) {
        auto field = [&](size_t k) { return static_cast<int32_t>(steps[i + k]); };
        program.steps.push_back({static_cast<Op>(field(0)), field(1), field(2), field(3), field(4), field(5)});
    }
    for (int64_t output : outputs) program.outputs.push_back(static_cast<int32_t>(output));
    program.conditions.resize(inputs);
    for (int64_t input : conditions) program.conditions.at(input) = true;
    program.masks = masks;
    return program;
}

std::vector<Array> make_arrays(const Longs& kinds, const Longs& data, const Longs& strides, size_t dims) {
    std::vector<Array> arrays(kinds.size());
    for (size_t i = 0; i < kinds.size(); ++i) {
        arrays[i].kind = static_cast<Kind>(kinds[i]);
        if (arrays[i].kind == Kind::constant) {
            arrays[i].constant = static_cast<int32_t>(data[i]);
        } else {
            arrays[i].data = reinterpret_cast<char*>(data[i]);
            arrays[i].strides.assign(strides.begin() + i * dims, strides.begin() + (i + 1) * dims);
        }
    }
    return arrays;
}

int32_t chain(const Arithmetic& arithmetic, const Program& program, const Longs& shape, const Longs& in_kinds,
              const Longs& in_data, const Longs& in_strides, const Longs& out_kinds, const Longs& out_data,
              const Longs& out_strides, const Longs& tables, int threads) {
    nb::gil_scoped_release release;
    Chain chain{&arithmetic, &program, shape, make_arrays(in_kinds, in_data, in_strides, shape.size()),
                make_arrays(out_kinds, out_data, out_strides, shape.size()), {}};
    for (int64_t table : tables) chain.tables.push_back(reinterpret_cast<const int32_t*>(table));
    return run_chain(std::move(chain), threads);
}

}  // namespace

void bind_elementwise(nb::module_& m) {
    nb::class_<Format>(m, "Format").def("__init__", [](Format* f, int int_bits, int frac_bits, bool flush) {
        new (f) Format{int_bits, frac_bits, flush};
    });
    nb::class_<Arithmetic>(m, "Arithmetic");
    nb::class_<Program>(m, "Program");
    m.def("make_arithmetic", &make_arithmetic);
    m.def("make_program", &make_program);
    m.def("chain", &chain);
}

}  // namespace slipstick
