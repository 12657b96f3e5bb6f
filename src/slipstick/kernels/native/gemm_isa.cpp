// GEMM kernels, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
#include "gemm_block.h"
#include "gemm_generic.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <typename P>
constexpr GemmPath path(const char* name) {
    return {name, &workspace_bytes<P>, &run_block<P>};
}

const GemmPath* fast_path(const GemmPlan&) { return nullptr; }

}  // namespace

extern const GemmKernels kGemm;
const GemmKernels kGemm = {path<Generic<true>>("checked"), path<Generic<false>>("unchecked"), &fast_path};

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
