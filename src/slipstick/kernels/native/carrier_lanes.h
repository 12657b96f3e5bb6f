// Encoding and decoding a vector at a time, with the tables in registers: gathers cost a multiple of permutes.
// Included inside the namespace of an instruction set; empty on the portable one.
#pragma once

#include <cstdint>

#include "arithmetic.h"

#if defined(SLIPSTICK_ISA_avx2)
#include <immintrin.h>
#elif defined(SLIPSTICK_ISA_avx512)
#if defined(SLIPSTICK_EMULATED)
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

#if defined(SLIPSTICK_ISA_avx512)

struct Lanes {
    using V = __m512i;
    static constexpr int kCount = 16;
    static constexpr int kMaxTableLog2 = 7;  // 128 entries: 8 registers, 4 two-register permutes
    static V load(const void* p) { return _mm512_loadu_si512(p); }
    static V load_codes(const int32_t* p) { return load(p); }
    static V load_codes(const int16_t* p) {
#if defined(SLIPSTICK_EMULATED)
        int32_t wide[kCount];
        for (int i = 0; i < kCount; ++i) wide[i] = p[i];
        return load(wide);
#else
        return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#endif
    }
    static void store(int32_t* p, V x) { _mm512_storeu_si512(p, x); }
    static void store(int16_t* p, V x) {
#if defined(SLIPSTICK_EMULATED)  // SIMDe lacks the narrowing
        int32_t wide[kCount];
        store(wide, x);
        for (int i = 0; i < kCount; ++i) p[i] = static_cast<int16_t>(wide[i]);
#else
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
#endif
    }
    // to: at a multiple of 32 bytes.
    static void stream(int32_t* to, V x) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(x));
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to) + 1, _mm512_extracti64x4_epi64(x, 1));
    }
    static V all(int32_t x) { return _mm512_set1_epi32(x); }
    static V add(V a, V b) { return _mm512_add_epi32(a, b); }
    static V sub(V a, V b) { return _mm512_sub_epi32(a, b); }
    static V bit_and(V a, V b) { return _mm512_and_si512(a, b); }
    static V bit_or(V a, V b) { return _mm512_or_si512(a, b); }
    static V min(V a, V b) { return _mm512_min_epi32(a, b); }
    static V max(V a, V b) { return _mm512_max_epi32(a, b); }
    static V left(V a, int count) { return _mm512_sll_epi32(a, _mm_cvtsi32_si128(count)); }
    static V right(V a, int count) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(count)); }
    static V arithmetic_right(V a, int count) {
#if defined(SLIPSTICK_EMULATED)  // SIMDe lacks the arithmetic shift
        const V sign = all(INT32_MIN);
        return sub(right(_mm512_xor_si512(a, sign), count), right(sign, count));
#else
        return _mm512_sra_epi32(a, _mm_cvtsi32_si128(count));
#endif
    }
    static V greater(V a, V b, V x, V y) { return _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(a, b), y, x); }
    static V equal(V a, V b, V x, V y) { return _mm512_mask_blend_epi32(_mm512_cmpeq_epi32_mask(a, b), y, x); }
    static bool any_greater(V a, V b) { return _mm512_cmpgt_epi32_mask(a, b) != 0; }

    // table[index mod 2^log2_size]
    template <int log2_size>
    static V lookup(const int32_t* table, V index) {
        if constexpr (log2_size == 5) {
            return _mm512_permutex2var_epi32(load(table), index, load(table + 16));
        } else {
            const V low = lookup<log2_size - 1>(table, index);
            const V high = lookup<log2_size - 1>(table + (1 << (log2_size - 1)), index);
            return _mm512_mask_blend_epi32(_mm512_test_epi32_mask(index, all(1 << (log2_size - 1))), low, high);
        }
    }
};

#elif defined(SLIPSTICK_ISA_avx2)

struct Lanes {
    using V = __m256i;
    static constexpr int kCount = 8;
    static constexpr int kMaxTableLog2 = 6;
    static V load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
    static V load_codes(const int32_t* p) { return load(p); }
    static V load_codes(const int16_t* p) {
        return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static void store(int32_t* p, V x) { _mm256_storeu_si256(reinterpret_cast<V*>(p), x); }
    static void store(int16_t* p, V x) {
        const V packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(x, x), 0x08);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
    }
    static void stream(int32_t* to, V x) { _mm256_stream_si256(reinterpret_cast<V*>(to), x); }
    static V all(int32_t x) { return _mm256_set1_epi32(x); }
    static V add(V a, V b) { return _mm256_add_epi32(a, b); }
    static V sub(V a, V b) { return _mm256_sub_epi32(a, b); }
    static V bit_and(V a, V b) { return _mm256_and_si256(a, b); }
    static V bit_or(V a, V b) { return _mm256_or_si256(a, b); }
    static V min(V a, V b) { return _mm256_min_epi32(a, b); }
    static V max(V a, V b) { return _mm256_max_epi32(a, b); }
    static V left(V a, int count) { return _mm256_sll_epi32(a, _mm_cvtsi32_si128(count)); }
    static V right(V a, int count) { return _mm256_srl_epi32(a, _mm_cvtsi32_si128(count)); }
    static V arithmetic_right(V a, int count) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(count)); }
    static V greater(V a, V b, V x, V y) { return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(a, b)); }
    static V equal(V a, V b, V x, V y) { return _mm256_blendv_epi8(y, x, _mm256_cmpeq_epi32(a, b)); }
    static bool any_greater(V a, V b) { return _mm256_movemask_epi8(_mm256_cmpgt_epi32(a, b)) != 0; }

    template <int log2_size>
    static V lookup(const int32_t* table, V index) {
        if constexpr (log2_size == 3) {
            return _mm256_permutevar8x32_epi32(load(table), index);
        } else {
            const __m256 low = _mm256_castsi256_ps(lookup<log2_size - 1>(table, index));
            const __m256 high = _mm256_castsi256_ps(lookup<log2_size - 1>(table + (1 << (log2_size - 1)), index));
            const __m256 choice = _mm256_castsi256_ps(_mm256_slli_epi32(index, 32 - log2_size));
            return _mm256_castps_si256(_mm256_blendv_ps(low, high, choice));
        }
    }
};

#endif

#if !defined(SLIPSTICK_ISA_portable)

// A table of 2^n entries, kSmallestTable or more of them.
struct RegisterTable {
    const int32_t* entries;
    int log2_size;

    explicit RegisterTable(const std::vector<int32_t>& table)
        : entries(table.data()), log2_size(__builtin_ctz(static_cast<unsigned>(table.size()))) {}

    bool fits() const { return log2_size <= Lanes::kMaxTableLog2; }
};

constexpr int kFloatsAhead = 512;  // how many numbers ahead memory is asked for

// False where there is a NaN.
template <int log2_size, bool flush, typename Code>
bool encode_lanes(const Arithmetic& arithmetic, const RegisterTable& table, const float* x, int64_t n, Code* v) {
    using L = Lanes;
    using V = L::V;
    const Format& format = arithmetic.operand;
    const int shift = arithmetic.encode_float.bucket_shift, drop = 23 - format.frac_bits;
    const V magnitude = L::all(0x7FFFFFFF), infinity = L::all(0x7F800000), nothing = L::all(0);
    const V bias = L::all(127 << format.frac_bits), zero = L::all(format.zero_code());
    const V max = L::all(format.max_log()), min = L::all(-format.max_log()), below = L::all(format.zero_log());
    V largest = nothing;
    for (int64_t i = 0; i < n; i += L::kCount) {
        __builtin_prefetch(x + i + kFloatsAhead);
        const V raw = L::load(x + i);
        const V bits = L::bit_and(raw, magnitude);
        largest = L::max(largest, bits);
        const V offset = L::lookup<log2_size>(table.entries, L::right(bits, shift));
        const V exact = L::sub(L::right(L::add(bits, offset), drop), bias);
        const V log = flush ? L::greater(min, exact, below, L::min(exact, max)) : L::max(min, L::min(exact, max));
        V code = L::bit_or(L::add(log, log), L::right(raw, 31));
        if (flush) code = L::greater(code, L::add(zero, L::all(1)), code, zero);
        L::store(v + i, L::equal(bits, nothing, zero, code));
    }
    return !L::any_greater(largest, infinity);
}

// stream: `x` lies at a multiple of 32 bytes and will not be read soon.
template <int log2_size, bool stream, typename Code>
void decode_lanes(const Format& format, const RegisterTable& table, const Code* v, int64_t n, float* x) {
    using L = Lanes;
    using V = L::V;
    const int frac = format.frac_bits;
    const V zero = L::all(format.zero_code()), bias = L::all(127);
    for (int64_t i = 0; i < n; i += L::kCount) {
        const V code = L::load_codes(v + i);
        const V log = L::arithmetic_right(code, 1);
        const V exponent = L::left(L::add(L::arithmetic_right(log, frac), bias), 23);
        const V mantissa = L::lookup<log2_size>(table.entries, log);
        const V bits = L::bit_or(L::bit_or(exponent, mantissa), L::left(code, 31));
        const V number = L::equal(code, zero, L::all(0), bits);
        if (stream)
            L::stream(reinterpret_cast<int32_t*>(x) + i, number);
        else
            L::store(reinterpret_cast<int32_t*>(x) + i, number);
    }
}

#endif

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
