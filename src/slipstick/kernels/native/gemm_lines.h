// Adders made of lines: D = offset -+ (d << e) or (d >> e) on up to 16 pieces per sign, and nothing is looked up by
// gathers.
//
// The key of an addition is d where signs agree and -1 - d where they differ, so that one signed comparison orders both
// tables. Four comparisons find a key's piece; thresholds, and what is known of a piece, are words or bytes taken by
// 16-byte shuffles from the outcomes so far:
//     bias - D = offset[piece] + (key * scale[piece / 4] mod 2^16) * factor[piece] / 2^16
// or the bias alone where d has passed the end of the tables.
#pragma once

#include "gemm_unsigned.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// kFar: d may exceed 32767.
template <bool kFar>
struct LineLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kTogether = 2;

    const LineTables* tables;

    explicit LineLookup(const UnsignedPlan& p) : tables(&p.lines) {}

    // entry: what is subtracted from the larger logs. A larger log becomes 0 here where the sum is zero. Of N additions
    // side by side, which share the loads of tables: a processor loads two vectors in the time of six operations.
    template <int N>
    SLIPSTICK_INLINE void operator()(const V (&distance)[2 * N], const V (&differ)[N], V (&larger)[2 * N],
                                     V (&entry)[2 * N]) const {
        const LineTables* t = here(tables);
        V key[2 * N], at[2 * N], far[2 * N], third[2 * N], fourth[2 * N];
        for (int i = 0; i < 2 * N; ++i) {
            key[i] = i % 2 ? S::unpack_high(differ[i / 2], differ[i / 2]) : S::unpack_low(differ[i / 2], differ[i / 2]);
            at[i] = S::bit_or(S::bit_and(key[i], constant(t, kDiffer)), constant(t, kRoot));
            const V d = kFar ? S::min_unsigned16(distance[i], S::all16(INT16_MAX)) : distance[i];
            key[i] = S::bit_xor(d, key[i]);
            far[i] = S::greater16(d, constant(t, kLast));
            larger[i] = S::and_not(larger[i], S::equal16(key[i], constant(t, kCancelled)));
        }
        descend(t, key, at, 0, kFirst);
        descend(t, key, at, 1, kSecond);
        const V middle = table(t->thresholds[2]);
        for (int i = 0; i < 2 * N; ++i) third[i] = S::greater16(key[i], S::shuffle(middle, at[i]));
        const V below = table(t->thresholds[3]), above = table(t->thresholds[4]);
        for (int i = 0; i < 2 * N; ++i) {
            const V threshold = S::where_negative8(third[i], S::shuffle(above, at[i]), S::shuffle(below, at[i]));
            fourth[i] = S::greater16(key[i], threshold);
        }
        const V scales = table(t->scales);
        for (int i = 0; i < 2 * N; ++i) key[i] = S::low_product16(key[i], S::shuffle(scales, at[i]));
        V piece[N], odd[N], low[N], high[N];
        const V low_byte = table(t->constants[kLowByte]);
        for (int i = 0; i < 2 * N; ++i) at[i] = S::bit_and(S::sub16(at[i], third[i]), low_byte);
        for (int i = 0; i < N; ++i) {
            piece[i] = S::pack_unsigned(at[2 * i], at[2 * i + 1]);
            odd[i] = S::pack(fourth[2 * i], fourth[2 * i + 1]);
            S::in_order(odd[i]);
        }
        parts(t, 0, piece, odd, low);
        parts(t, 1, piece, odd, high);
        for (int i = 0; i < N; ++i) {
            key[2 * i] = S::high_product16(key[2 * i], S::unpack_low(low[i], high[i]));
            key[2 * i + 1] = S::high_product16(key[2 * i + 1], S::unpack_high(low[i], high[i]));
        }
        parts(t, 2, piece, odd, low);
        parts(t, 3, piece, odd, high);
        for (int i = 0; i < N; ++i) {
            key[2 * i] = S::add16(key[2 * i], S::unpack_low(low[i], high[i]));
            key[2 * i + 1] = S::add16(key[2 * i + 1], S::unpack_high(low[i], high[i]));
        }
        const V bias = table(t->constants[kBias]);
        for (int i = 0; i < 2 * N; ++i) entry[i] = S::where_negative8(far[i], bias, key[i]);
    }

private:
    // Tables are too many for registers. What is found through this pointer is loaded where it is used, instead of
    // before, and then put by and loaded again.
    SLIPSTICK_INLINE static const LineTables* here(const LineTables* p) {
        asm volatile("" : "+r"(p));
        return p;
    }

    SLIPSTICK_INLINE static V table(const void* p) {
        V x = S::load(p);
        S::in_order(x);
        return x;
    }

    SLIPSTICK_INLINE static V constant(const LineTables* t, LineConstant which) { return S::load(t->constants[which]); }

    template <int M>
    SLIPSTICK_INLINE static void descend(const LineTables* t, const V (&key)[M], V (&at)[M], int level,
                                         LineConstant which) {
        const V threshold = table(t->thresholds[level]), bit = table(t->constants[which]);
        for (int i = 0; i < M; ++i) {
            at[i] = S::bit_or(at[i], S::bit_and(S::greater16(key[i], S::shuffle(threshold, at[i])), bit));
            S::in_order(at[i]);
        }
    }

    template <int N>
    SLIPSTICK_INLINE static void parts(const LineTables* t, int p, const V (&piece)[N], const V (&odd)[N], V (&to)[N]) {
        const V even = table(t->pieces[p][0]), other = table(t->pieces[p][1]);
        for (int i = 0; i < N; ++i)
            to[i] = S::where_negative8(odd[i], S::shuffle(other, piece[i]), S::shuffle(even, piece[i]));
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
