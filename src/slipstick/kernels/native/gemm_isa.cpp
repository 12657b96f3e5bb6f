// GEMM kernels, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
#include "gemm_block.h"
#include "gemm_generic.h"

#if defined(SLIPSTICK_ISA_avx2)
#include "gemm_bytes.h"
#include "gemm_lines.h"
#include "gemm_loads.h"
#include "gemm_lookup_avx2.h"
#include "gemm_steps_avx2.h"
#elif defined(SLIPSTICK_ISA_avx512)
#include "gemm_bytes.h"
#include "gemm_cells_avx512.h"
#include "gemm_loads.h"
#include "gemm_lookup_avx512.h"
#include "gemm_wide_steps_avx512.h"
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
struct ByteKernel {
    ByteMode mode;
    int bits;
    bool coarse;
    int slices;
    GemmPath path;

    bool holds(const BytePlan& plan) const {
        return mode == plan.mode && bits == plan.classes.bits && coarse == (plan.classes.shift > 0) &&
               slices >= plan.slices();
    }
};

template <ByteMode kMode, int kBits, bool kCoarse, int kSlices16>
constexpr ByteKernel byte_kernel(const char* name) {
    return {kMode, kBits, kCoarse, kSlices16, path<NativeBytes<ShuffleLookup<kBits, kCoarse, kSlices16>, kMode>>(name)};
}

// The first that holds a plan's classes is taken.
const ByteKernel kByteKernels[] = {
    byte_kernel<ByteMode::plain, 7, false, 1>("bytes-16"),
    byte_kernel<ByteMode::plain, 7, false, 3>("bytes-48"),
    byte_kernel<ByteMode::plain, 7, false, 6>("bytes-96"),
    byte_kernel<ByteMode::plain, 7, false, 8>("bytes-128"),
    byte_kernel<ByteMode::plain, 7, true, 4>("bytes-64-coarse"),
    byte_kernel<ByteMode::plain, 7, true, 7>("bytes-112-coarse"),
    byte_kernel<ByteMode::plain, 7, true, 8>("bytes-128-coarse"),
    byte_kernel<ByteMode::plain, 8, false, 14>("bytes-224"),
    byte_kernel<ByteMode::plain, 8, true, 16>("bytes-256-coarse"),
    byte_kernel<ByteMode::saturating, 7, true, 8>("bytes-128-coarse-saturating"),
    byte_kernel<ByteMode::saturating, 8, false, 16>("bytes-256-saturating"),
    byte_kernel<ByteMode::saturating, 8, true, 16>("bytes-256-coarse-saturating"),
    byte_kernel<ByteMode::rounded, 7, false, 3>("bytes-48-rounded"),
    byte_kernel<ByteMode::rounded, 7, false, 6>("bytes-96-rounded"),
    byte_kernel<ByteMode::rounded, 7, true, 7>("bytes-112-coarse-rounded"),
    byte_kernel<ByteMode::rounded, 8, false, 14>("bytes-224-rounded"),
    byte_kernel<ByteMode::rounded, 8, true, 16>("bytes-256-coarse-rounded"),
};

// One compiled step kernel: which slices it has.
struct StepKernel {
    StepSlices slices;
    GemmPath path;

    bool holds(const StepSlices& s) const {
        return slices.shift == s.shift && slices.wide == s.wide && slices.plus >= s.plus && slices.minus >= s.minus &&
               (s.shift > 0 || slices.plus == s.plus);
    }
};

template <int kShift, bool kWide, int kPlus, int kMinus>
constexpr StepKernel step_kernel(const char* name) {
    using Lookup = StepLookup<kShift, kWide, kPlus, kMinus>;
    return {{kShift, Lookup::kCoarse, kWide, kPlus, kMinus}, path<Steps<Lookup>>(name)};
}

// The first that holds a plan's slices is taken.
const StepKernel kStepKernels[] = {
    step_kernel<0, false, 3, 3>("steps-48"),
    step_kernel<0, false, 6, 6>("steps-96"),
    step_kernel<0, false, 8, 8>("steps-128"),
    step_kernel<3, false, 3, 3>("steps-48-by-8"),
    step_kernel<3, true, 5, 6>("steps-80-96-by-8"),
};

const GemmPath* step_path(const BytePlan& plan, int64_t terms) {
    if (terms > plan.terms) return nullptr;
    for (const StepKernel& kernel : kStepKernels)
        if (kernel.holds(plan.steps)) return &kernel.path;
    return nullptr;
}

const GemmPath kLines[] = {path<Unsigned<LineLookup<false>>>("lines"), path<Unsigned<LineLookup<true>>>("lines-far")};

const GemmPath* line_path(const UnsignedPlan& plan, int64_t terms) {
    return terms <= plan.terms && plan.lines.exact ? &kLines[plan.far] : nullptr;
}

const GemmPath* wide_step_path(const GenericPlan&, int64_t) { return nullptr; }

constexpr int kCheapBits = 7;  // classes of so many bits cost less than lines

#elif defined(SLIPSTICK_ISA_avx512)

constexpr int kCheapBits = 8;

const GemmPath* step_path(const BytePlan&, int64_t) { return nullptr; }

const GemmPath kWideSteps = path<Generic<WideStepLookup, false>>("wide-steps");

const GemmPath* wide_step_path(const GenericPlan& plan, int64_t terms) {
    return terms <= plan.unchecked_terms && plan.steps.exact ? &kWideSteps : nullptr;
}

const GemmPath kCells = path<Unsigned<CellLookup>>("cells");

const GemmPath* line_path(const UnsignedPlan& plan, int64_t terms) {
    return terms <= plan.terms && plan.cells.exact ? &kCells : nullptr;
}

// One compiled kernel: classes of so many bits, with such a coarse part.
struct ByteKernel {
    ByteMode mode;
    int bits;
    Coarse coarse;
    GemmPath path;

    bool holds(const BytePlan& plan) const {
        return mode == plan.mode && bits == plan.classes.bits && coarse == coarse_of(plan.classes);
    }
};

template <ByteMode kMode, int kBits, Coarse kCoarse>
constexpr ByteKernel byte_kernel(const char* name) {
    return {kMode, kBits, kCoarse, path<NativeBytes<PermuteLookup<kBits, kCoarse>, kMode>>(name)};
}

const ByteKernel kByteKernels[] = {
    byte_kernel<ByteMode::plain, 6, Coarse::none>("bytes-64"),
    byte_kernel<ByteMode::plain, 6, Coarse::near>("bytes-64-near"),
    byte_kernel<ByteMode::plain, 6, Coarse::far>("bytes-64-far"),
    byte_kernel<ByteMode::plain, 7, Coarse::none>("bytes-128"),
    byte_kernel<ByteMode::plain, 7, Coarse::near>("bytes-128-near"),
    byte_kernel<ByteMode::plain, 7, Coarse::far>("bytes-128-far"),
    byte_kernel<ByteMode::plain, 8, Coarse::none>("bytes-256"),
    byte_kernel<ByteMode::plain, 8, Coarse::far>("bytes-256-far"),
    byte_kernel<ByteMode::saturating, 6, Coarse::near>("bytes-64-near-saturating"),
    byte_kernel<ByteMode::saturating, 6, Coarse::far>("bytes-64-far-saturating"),
    byte_kernel<ByteMode::saturating, 7, Coarse::near>("bytes-128-near-saturating"),
    byte_kernel<ByteMode::saturating, 7, Coarse::far>("bytes-128-far-saturating"),
    byte_kernel<ByteMode::saturating, 8, Coarse::none>("bytes-256-saturating"),
    byte_kernel<ByteMode::saturating, 8, Coarse::far>("bytes-256-far-saturating"),
    byte_kernel<ByteMode::rounded, 6, Coarse::none>("bytes-64-rounded"),
    byte_kernel<ByteMode::rounded, 6, Coarse::near>("bytes-64-near-rounded"),
    byte_kernel<ByteMode::rounded, 6, Coarse::far>("bytes-64-far-rounded"),
    byte_kernel<ByteMode::rounded, 7, Coarse::none>("bytes-128-rounded"),
    byte_kernel<ByteMode::rounded, 7, Coarse::near>("bytes-128-near-rounded"),
    byte_kernel<ByteMode::rounded, 7, Coarse::far>("bytes-128-far-rounded"),
    byte_kernel<ByteMode::rounded, 8, Coarse::none>("bytes-256-rounded"),
    byte_kernel<ByteMode::rounded, 8, Coarse::far>("bytes-256-far-rounded"),
};

#endif

#if defined(SLIPSTICK_ISA_avx2) || defined(SLIPSTICK_ISA_avx512)

const GemmPath kLoads = path<Unsigned<LoadLookup>>("loads");
const GemmPath kWideLoads = path<Generic<WideLoadLookup, false>>("wide-loads");

const GemmPath* load_path(const GemmPlan& plan, int64_t terms) {
    if (terms <= plan.unsigned16.terms) return &kLoads;
    return terms <= plan.generic.unchecked_terms && !plan.generic.narrow.empty() ? &kWideLoads : nullptr;
}

const GemmPath* kernel_of(const BytePlan& plan, int64_t terms) {
    if (terms > plan.terms) return nullptr;
    for (const ByteKernel& kernel : kByteKernels)
        if (kernel.holds(plan)) return &kernel.path;
    return nullptr;
}

// The cheapest first.
const GemmPath* fast_path(const GemmPlan& plan, int64_t terms) {
    if (const GemmPath* path = step_path(plan.steps, terms)) return path;
    const BytePlan& classes = byte_plan(plan, false);
    const GemmPath* bytes = kernel_of(classes, terms);
    if (bytes && classes.classes.bits <= kCheapBits) return bytes;
    if (const GemmPath* path = line_path(plan.unsigned16, terms)) return path;
    if (bytes) return bytes;
    if (const GemmPath* path = kernel_of(byte_plan(plan, true), terms)) return path;
    if (const GemmPath* path = wide_step_path(plan.generic, terms)) return path;
    return load_path(plan, terms);
}

#else

const GemmPath* fast_path(const GemmPlan&, int64_t) { return nullptr; }

#endif

}  // namespace

extern const GemmKernels kGemm;
const GemmKernels kGemm = {path<Generic<GatherLookup, true>>("checked"),
                           path<Generic<GatherLookup, false>>("unchecked"), &fast_path};

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
