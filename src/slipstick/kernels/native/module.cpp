// The Python module slipstick.kernels.native. It takes raw buffers: no link against libtorch, one build for every torch.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "isa.h"

namespace nb = nanobind;

namespace slipstick {
void bind_elementwise(nb::module_& m);
void bind_chain_call(nb::module_& m);
void bind_tensors(nb::module_& m);
void bind_gemm(nb::module_& m);
void bind_linear(nb::module_& m);
}  // namespace slipstick

NB_MODULE(native, m) {
    using slipstick::Isa;
    nb::set_leak_warnings(false);  // recorded programs and tables are cached until the process ends, on purpose
    m.def("current_isa", [] { return std::string(slipstick::isa_name(slipstick::current_isa())); });
    m.def("available_isas", [] {
        std::vector<std::string> names;
        for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
            if (slipstick::isa_available(isa)) names.emplace_back(slipstick::isa_name(isa));
        return names;
    });
    m.def("set_isa", [](const std::string& name) {
        for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
            if (name == slipstick::isa_name(isa)) return slipstick::set_isa(isa);
        throw nb::value_error(("isa " + name + ": choose portable, avx2 or avx512").c_str());
    });
    slipstick::bind_elementwise(m);
    slipstick::bind_tensors(m);
    slipstick::bind_chain_call(m);
    slipstick::bind_gemm(m);
    slipstick::bind_linear(m);
}
