// A vector of codes v = 2 L + s, in 16 or 32 bits: what the operations on codes need of an instruction set.
// 16-bit sums and differences saturate, which only takes them further out of the range of the format.
#pragma once

#include "gemm_simd.h"
#if !defined(SLIPSTICK_ISA_portable)
#include "table_loads.h"
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <typename Code>
struct Codes;

#if !defined(SLIPSTICK_ISA_portable)

// What codes of 16 bits are on every instruction set that has vectors.
struct WordCodes : Words {
    using Code = int16_t;
    static constexpr int kLanes = kBytes / 2;
    SLIPSTICK_INLINE static V all(int x) { return all16(x); }
    SLIPSTICK_INLINE static V add(V a, V b) { return add16_saturating(a, b); }
    SLIPSTICK_INLINE static V sub(V a, V b) { return sub16_saturating(a, b); }
    SLIPSTICK_INLINE static V min(V a, V b) { return min16(a, b); }
    SLIPSTICK_INLINE static V max(V a, V b) { return max16(a, b); }
    SLIPSTICK_INLINE static V half(V a) { return half16(a); }
    SLIPSTICK_INLINE static V doubled(V a) { return add16(a, a); }  // wraps
    SLIPSTICK_INLINE static V magnitude(V a) { return abs16(a); }
    SLIPSTICK_INLINE static V where_greater(V a, V b, V x, V y) { return where_greater16(a, b, x, y); }
    SLIPSTICK_INLINE static V gather(const int16_t* table, V i) { return load_words(Loads{table}, i); }
};

#endif

#if defined(SLIPSTICK_ISA_avx2)

template <>
struct Codes<int32_t> : Int32 {
    using Code = int32_t;
    SLIPSTICK_INLINE static V half(V a) { return _mm256_srai_epi32(a, 1); }
    SLIPSTICK_INLINE static V doubled(V a) { return add(a, a); }
    SLIPSTICK_INLINE static V magnitude(V a) { return _mm256_abs_epi32(a); }
    SLIPSTICK_INLINE static bool any(V a) { return !_mm256_testz_si256(a, a); }
};

template <>
struct Codes<int16_t> : WordCodes {
    SLIPSTICK_INLINE static V sub8(V a, V b) { return _mm256_sub_epi8(a, b); }
    SLIPSTICK_INLINE static V where_equal(V a, V b, V x, V y) {
        return _mm256_blendv_epi8(y, x, _mm256_cmpeq_epi16(a, b));
    }
    SLIPSTICK_INLINE static bool any(V a) { return !_mm256_testz_si256(a, a); }
};

#elif defined(SLIPSTICK_ISA_avx512)

template <>
struct Codes<int32_t> : Int32 {
    using Code = int32_t;
    SLIPSTICK_INLINE static V doubled(V a) { return add(a, a); }
    SLIPSTICK_INLINE static V half(V a) {
#if defined(SLIPSTICK_EMULATED)  // SIMDe lacks the arithmetic shift
        const V sign = all(INT32_MIN);
        return sub(_mm512_srli_epi32(bit_xor(a, sign), 1), _mm512_srli_epi32(sign, 1));
#else
        return _mm512_srai_epi32(a, 1);
#endif
    }
    SLIPSTICK_INLINE static V magnitude(V a) { return _mm512_abs_epi32(a); }
    SLIPSTICK_INLINE static bool any(V a) { return _mm512_test_epi32_mask(a, a) != 0; }
};

template <>
struct Codes<int16_t> : WordCodes {
    SLIPSTICK_INLINE static V sub8(V a, V b) { return _mm512_sub_epi8(a, b); }
    SLIPSTICK_INLINE static bool any(V a) { return _mm512_test_epi32_mask(a, a) != 0; }
#if defined(SLIPSTICK_EMULATED)
    static V where_equal(V a, V b, V x, V y) { return where_greater(a, b, y, where_greater(b, a, y, x)); }
#else
    SLIPSTICK_INLINE static V where_equal(V a, V b, V x, V y) {
        return _mm512_mask_mov_epi16(y, _mm512_cmpeq_epi16_mask(a, b), x);
    }
#endif
};

#else

template <>
struct Codes<int32_t> : Int32 {
    using Code = int32_t;
    SLIPSTICK_INLINE static V half(V a) { return a >> 1; }
    SLIPSTICK_INLINE static V doubled(V a) { return add(a, a); }
    SLIPSTICK_INLINE static V magnitude(V a) { return a < 0 ? -a : a; }
    SLIPSTICK_INLINE static bool any(V a) { return a != 0; }
};

#endif

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
