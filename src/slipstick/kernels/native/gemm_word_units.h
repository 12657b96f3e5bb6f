// Units of sums with logs in 16 bits: two vectors of logs and one of signs in bytes, in the byte order that packing
// 16-bit lanes gives, so that unpacking restores the order of the logs. What the kernels of narrow formats share.
#pragma once

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

struct WordUnits {
    using S = Words;
    using V = S::V;
    static constexpr int kUnit = S::kBytes;
    static constexpr int kValueBytes = 3 * S::kBytes, kColumnBytes = 3 * S::kBytes, kRowBytes = 8;

    struct Value {
        V first, second, sign;
    };

    SLIPSTICK_INLINE static Value load(const char* p) {
        return {S::load(p), S::load(p + S::kBytes), S::load(p + 2 * S::kBytes)};
    }

    SLIPSTICK_INLINE static void store(char* p, const Value& x) {
        S::store(p, x.first);
        S::store(p + S::kBytes, x.second);
        S::store(p + 2 * S::kBytes, x.sign);
    }

    // Logs in the accumulator's units, plus an offset; `dead` for the code of zero, which is the smallest. Signs of 0
    // and -1.
    static Value of_codes(const int16_t* codes, const Conversion& conversion, int offset, V dead) {
        const V one = S::all16(1), zero_code = S::all16(conversion.zero_code), offsets = S::all16(offset);
        V log[2], sign[2];
        for (int half = 0; half < 2; ++half) {
            const V v = S::load(codes + half * (kUnit / 2));
            const V live = S::add16(S::shift_left16(S::half16(v), conversion.shift), offsets);
            log[half] = S::where_greater16(v, zero_code, live, dead);
            sign[half] = S::sub16(S::all16(0), S::bit_and(v, one));
        }
        return {log[0], log[1], S::pack(sign[0], sign[1])};
    }

    // Logs one by one, and signs as 0 or 1.
    template <typename Log>
    static void spread(const Value& x, Log (&logs)[kUnit], int32_t* signs) {
        int16_t sign[kUnit];
        S::store(logs, x.first);
        S::store(logs + kUnit / 2, x.second);
        S::store(sign, S::unpack_low(x.sign, x.sign));
        S::store(sign + kUnit / 2, S::unpack_high(x.sign, x.sign));
        for (int i = 0; i < kUnit; ++i) signs[i] = sign[i] < 0;
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
