// Adders that are constant on a few cells of the difference, such as tables of 20 entries, in 32-bit lanes: one
// permutation of 64 words in place of a gather.
#pragma once

#include "gemm_generic.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

struct WideStepLookup {
    using S = Int32;
    using V = S::V;

    V last, phase, offset, cancelled, low, high;
    int shift;

    explicit WideStepLookup(const GenericPlan& p)
        : last(S::all(p.last)), phase(S::all(2 * p.steps.phase)), offset(S::all(p.steps.offset)),
          cancelled(S::all(p.steps.cancelled)), low(S::load(p.steps.entries)), high(S::load(p.steps.entries + 32)),
          shift(p.steps.shift + 1) {}

    // index: 2 d + (signs differ).
    SLIPSTICK_INLINE V sum(V larger, V index) const {
        const V cell = S::shift_right(S::add(S::min(index, last), phase), shift);
        const V place = S::select(S::all(32), S::shift_left(index, 5), cell);
        const V found = S::add(S::sub(larger, offset), S::permute_words(low, high, place));
        return S::where_odd_below(index, cancelled, S::all(kNothing), found);
    }

private:
    static constexpr int32_t kNothing = INT32_MIN / 2;
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
