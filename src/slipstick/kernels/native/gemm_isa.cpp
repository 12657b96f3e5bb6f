// GEMM kernels, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
#include "gemm_block.h"
#include "gemm_generic.h"

#if defined(SLIPSTICK_ISA_avx2)
#include "gemm_bytes.h"
#include "gemm_lookup_avx2.h"
#elif defined(SLIPSTICK_ISA_avx512)
#include "gemm_bytes.h"
#include "gemm_lookup_avx512.h"
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <typename P>
constexpr GemmPath path(const char* name) {
    return {name, &workspace_bytes<P>, &run_block<P>};
}

#if defined(SLIPSTICK_ISA_avx2)

// One compiled kernel: classes of so many bits, with a coarse part or not, in up to so many slices.
struct ShuffleKernel {
    int bits;
    bool coarse, saturating;
    int slices;
    GemmPath path;
};

template <int kBits, bool kCoarse, int kSlices16, bool kSaturating = false>
constexpr ShuffleKernel shuffle_kernel(const char* name) {
    return {kBits, kCoarse, kSaturating, kSlices16,
            path<NativeBytes<ShuffleLookup<kBits, kCoarse, kSlices16>, kSaturating>>(name)};
}

// From the fastest on: the first that holds a plan's classes is taken.
const ShuffleKernel kShuffleKernels[] = {
    shuffle_kernel<7, false, 1>("bytes-16"),
    shuffle_kernel<7, false, 3>("bytes-48"),
    shuffle_kernel<7, false, 6>("bytes-96"),
    shuffle_kernel<7, false, 8>("bytes-128"),
    shuffle_kernel<7, true, 4>("bytes-64-coarse"),
    shuffle_kernel<7, true, 7>("bytes-112-coarse"),
    shuffle_kernel<7, true, 8>("bytes-128-coarse"),
    shuffle_kernel<8, false, 14>("bytes-224"),
    shuffle_kernel<8, false, 16>("bytes-256"),
    shuffle_kernel<8, true, 16>("bytes-256-coarse"),
    shuffle_kernel<7, true, 8, true>("bytes-128-coarse-saturating"),
    shuffle_kernel<8, false, 16, true>("bytes-256-saturating"),
    shuffle_kernel<8, true, 16, true>("bytes-256-coarse-saturating"),
};

const GemmPath* fast_path(const GemmPlan& plan, int64_t terms) {
    if (terms > plan.shuffle.terms) return nullptr;
    const ByteClasses& classes = plan.shuffle.classes;
    for (const ShuffleKernel& kernel : kShuffleKernels)
        if (kernel.bits == classes.bits && kernel.coarse == (classes.shift > 0) &&
            kernel.saturating == plan.shuffle.saturating && kernel.slices >= plan.shuffle.slices())
            return &kernel.path;
    return nullptr;
}

#elif defined(SLIPSTICK_ISA_avx512)

struct PermuteKernel {
    int bits;
    bool coarse, saturating;
    GemmPath path;
};

template <int kBits, bool kCoarse, bool kSaturating>
constexpr PermuteKernel permute_kernel(const char* name) {
    return {kBits, kCoarse, kSaturating, path<NativeBytes<PermuteLookup<kBits, kCoarse>, kSaturating>>(name)};
}

const PermuteKernel kPermuteKernels[] = {
    permute_kernel<6, false, false>("bytes-64"),
    permute_kernel<6, true, false>("bytes-64-coarse"),
    permute_kernel<7, false, false>("bytes-128"),
    permute_kernel<7, true, false>("bytes-128-coarse"),
    permute_kernel<8, false, false>("bytes-256"),
    permute_kernel<8, true, false>("bytes-256-coarse"),
    permute_kernel<6, true, true>("bytes-64-coarse-saturating"),
    permute_kernel<7, true, true>("bytes-128-coarse-saturating"),
    permute_kernel<8, false, true>("bytes-256-saturating"),
    permute_kernel<8, true, true>("bytes-256-coarse-saturating"),
};

const GemmPath* fast_path(const GemmPlan& plan, int64_t terms) {
    if (terms > plan.permute.terms) return nullptr;
    const ByteClasses& classes = plan.permute.classes;
    for (const PermuteKernel& kernel : kPermuteKernels)
        if (kernel.bits == classes.bits && kernel.coarse == (classes.shift > 0) &&
            kernel.saturating == plan.permute.saturating)
            return &kernel.path;
    return nullptr;
}

#else

const GemmPath* fast_path(const GemmPlan&, int64_t) { return nullptr; }

#endif

}  // namespace

extern const GemmKernels kGemm;
const GemmKernels kGemm = {path<Generic<true>>("checked"), path<Generic<false>>("unchecked"), &fast_path};

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
