// Any tables whose entries fit 16 bits: a load for every lane, which costs less than gathers of 32-bit lanes.
#pragma once

#include "gemm_unsigned.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

struct LoadLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kTogether = 2;

    const uint16_t* table;
    V end;

    explicit LoadLookup(const UnsignedPlan& p) : table(p.table.data()), end(S::all16(p.last + 1)) {}

    template <int N>
    SLIPSTICK_INLINE void operator()(const V (&distance)[2 * N], const V (&differ)[N], V (&)[2 * N],
                                     V (&entry)[2 * N]) const {
        alignas(32) uint16_t index[2 * N][16];
        for (int i = 0; i < 2 * N; ++i) {
            const V minus =
                i % 2 ? S::unpack_high(differ[i / 2], differ[i / 2]) : S::unpack_low(differ[i / 2], differ[i / 2]);
            const V d = S::min_unsigned16(distance[i], end);
            S::store(index[i], S::sub16(S::add16(d, d), minus));
        }
        asm volatile("" ::: "memory");  // the indices are read from memory, one by one
        for (int i = 0; i < 2 * N; ++i) entry[i] = _mm256_set_m128i(eight(index[i] + 8), eight(index[i]));
    }

private:
    SLIPSTICK_INLINE __m128i eight(const uint16_t* index) const {
        __m128i x = _mm_cvtsi32_si128(table[index[0]]);
        x = _mm_insert_epi16(x, table[index[1]], 1);
        x = _mm_insert_epi16(x, table[index[2]], 2);
        x = _mm_insert_epi16(x, table[index[3]], 3);
        x = _mm_insert_epi16(x, table[index[4]], 4);
        x = _mm_insert_epi16(x, table[index[5]], 5);
        x = _mm_insert_epi16(x, table[index[6]], 6);
        return _mm_insert_epi16(x, table[index[7]], 7);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
