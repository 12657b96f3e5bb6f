// Byte tables of up to 256 classes by 16-byte shuffles.
//
// A shuffle gives 0 where bit 7 of its index is set and looks at the low four bits otherwise. Adding 0x70 - 16 i sets
// bit 7 exactly for classes >= 16 (i + 1); so slice i answers for every class below that, and because it holds
// table[i] ^ table[i + 1], the exclusive or of all slices telescopes to the class's own entry. From class 128 on, the
// same with bit 7 turned over.
#pragma once

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// kSlices16: slices that the classes need. Signs are bytes 0 or 0xFF.
template <int kBits, bool kCoarse, int kSlices16>
struct ShuffleLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kSign = 0xFF;

    struct Entry {
        V low, high;  // bytes of bias - D
    };

    const BytePlan* plan;
    V scale, offset, top;

    explicit ShuffleLookup(const BytePlan& p)
        : plan(&p), scale(S::all16(1 << (16 - (p.classes.shift ? p.classes.shift : 1)))),
          offset(S::all8(p.classes.offset)), top(S::all8(p.classes.top)) {}

    // first, second: u - v of both halves; z: the same packed with saturation; su, sv: signs.
    SLIPSTICK_INLINE Entry operator()(V first, V second, V z, V su, V sv) const {
        const V c = classes(first, second, z), opposite = S::bit_xor(su, sv);
        V index = kSlices16 > 1 ? beyond(c, 0) : c;
        V plus = S::shuffle(S::load(plan->plus_slices[0]), index);
        V minus = S::shuffle(S::load(plan->minus_slices[0]), index);
        const V high = S::bit_and(S::shuffle(S::load(plan->second_slice), index), opposite);
#pragma GCC unroll 8
        for (int i = 1; i < (kSlices16 < 8 ? kSlices16 : 8); ++i) {
            index = i == (kBits == 7 ? kSlices16 - 1 : 7) ? c : beyond(c, i);
            join(plus, minus, i, index);
        }
        if (kSlices16 > 8) {
            const V upper = S::bit_xor(c, S::all8(0x80));
#pragma GCC unroll 8
            for (int i = 8; i < kSlices16; ++i)
                join(plus, minus, i, i == kSlices16 - 1 ? upper : beyond(upper, i - 8));
        }
        return {S::where_negative8(opposite, minus, plus), high};
    }

    // The sign of u, or of v where z is negative.
    SLIPSTICK_INLINE static V sign(V z, V su, V sv) { return S::where_negative8(z, sv, su); }

private:
    SLIPSTICK_INLINE V beyond(V c, int slice) const {
        const V step = S::load(plan->slice_steps[slice]);
        return kBits == 7 ? S::add8(c, step) : S::add8_saturating(c, step);
    }

    SLIPSTICK_INLINE void join(V& plus, V& minus, int slice, V index) const {
        plus = S::bit_xor(plus, S::shuffle(S::load(plan->plus_slices[slice]), index));
        minus = S::bit_xor(minus, S::shuffle(S::load(plan->minus_slices[slice]), index));
        S::in_order(plus);
        S::in_order(minus);
    }

    SLIPSTICK_INLINE V classes(V first, V second, V z) const {
        V fine, coarse;
        if (kCoarse || kBits == 8) {
            first = S::abs16(first);
            second = S::abs16(second);
        }
        if (kBits == 7)
            fine = S::abs8(z);
        else
            fine = S::pack_unsigned(first, second);
        if (kCoarse) {
            coarse = S::pack_unsigned(S::high_product16(first, scale), S::high_product16(second, scale));
            fine = S::min8(fine, S::add8_saturating(coarse, offset));
        }
        return S::min8(fine, top);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
