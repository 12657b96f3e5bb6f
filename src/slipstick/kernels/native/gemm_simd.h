// One instruction per function: what the kernels need of an instruction set. Included inside its namespace.
#pragma once

#include <cstdint>
#include <cstring>

// Inlining decides the speed of these kernels, and the compiler's estimate of it is wrong for them. Emulated
// instructions are whole functions, which inlined by the thousand take the compiler many minutes.
#if defined(SLIPSTICK_ISA_avx512) && defined(SLIPSTICK_EMULATED)
#define SLIPSTICK_INLINE inline __attribute__((noinline))
#else
#define SLIPSTICK_INLINE inline __attribute__((always_inline))
#endif

#if defined(SLIPSTICK_ISA_avx2)
#include <immintrin.h>
#elif defined(SLIPSTICK_ISA_avx512)
#if defined(SLIPSTICK_EMULATED)
#include <simde/x86/avx512.h>
#include <simde/x86/gfni.h>
#else
#include <immintrin.h>
#endif
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

#if defined(SLIPSTICK_ISA_avx512)
constexpr bool kManyRegisters = true;  // enough for a kernel's constants
#else
constexpr bool kManyRegisters = false;
#endif

#if defined(SLIPSTICK_ISA_avx2)

struct Int32 {
    using V = __m256i;
    static constexpr int kLanes = 8;
    SLIPSTICK_INLINE static V load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
    SLIPSTICK_INLINE static void store(void* p, V x) { _mm256_storeu_si256(static_cast<V*>(p), x); }
    SLIPSTICK_INLINE static V all(int32_t x) { return _mm256_set1_epi32(x); }
    SLIPSTICK_INLINE static V add(V a, V b) { return _mm256_add_epi32(a, b); }
    SLIPSTICK_INLINE static V sub(V a, V b) { return _mm256_sub_epi32(a, b); }
    SLIPSTICK_INLINE static V min(V a, V b) { return _mm256_min_epi32(a, b); }
    SLIPSTICK_INLINE static V max(V a, V b) { return _mm256_max_epi32(a, b); }
    SLIPSTICK_INLINE static V bit_and(V a, V b) { return _mm256_and_si256(a, b); }
    SLIPSTICK_INLINE static V bit_or(V a, V b) { return _mm256_or_si256(a, b); }
    SLIPSTICK_INLINE static V bit_xor(V a, V b) { return _mm256_xor_si256(a, b); }
    SLIPSTICK_INLINE static V and_not(V a, V b) { return _mm256_andnot_si256(b, a); }  // a & ~b
    SLIPSTICK_INLINE static V xor_and(V a, V b, V c) { return bit_xor(a, bit_and(b, c)); }
    SLIPSTICK_INLINE static V gather(const int32_t* table, V i) { return _mm256_i32gather_epi32(table, i, 4); }
    // a == b ? x : y
    SLIPSTICK_INLINE static V where_equal(V a, V b, V x, V y) {
        return _mm256_blendv_epi8(y, x, _mm256_cmpeq_epi32(a, b));
    }
    // a > b ? x : y
    SLIPSTICK_INLINE static V where_greater(V a, V b, V x, V y) {
        return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(a, b));
    }
};

// 16 logs of 16 bits, or 32 signs and classes of 8. Packing and unpacking keep to 16-byte lanes, and undo each other.
struct Words {
    using V = __m256i;
    static constexpr int kBytes = 32;
    SLIPSTICK_INLINE static V load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
    SLIPSTICK_INLINE static void store(void* p, V x) { _mm256_storeu_si256(static_cast<V*>(p), x); }
    SLIPSTICK_INLINE static V all16(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
    SLIPSTICK_INLINE static V all8(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
    SLIPSTICK_INLINE static V all32(const void* p) {
        int32_t x;
        std::memcpy(&x, p, sizeof x);
        return _mm256_set1_epi32(x);
    }
    SLIPSTICK_INLINE static V add16(V a, V b) { return _mm256_add_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16(V a, V b) { return _mm256_sub_epi16(a, b); }
    SLIPSTICK_INLINE static V add16_saturating(V a, V b) { return _mm256_adds_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16_saturating(V a, V b) { return _mm256_subs_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16_down_to_0(V a, V b) { return _mm256_subs_epu16(a, b); }
    SLIPSTICK_INLINE static V max16(V a, V b) { return _mm256_max_epi16(a, b); }
    SLIPSTICK_INLINE static V min16(V a, V b) { return _mm256_min_epi16(a, b); }
    SLIPSTICK_INLINE static V max_unsigned16(V a, V b) { return _mm256_max_epu16(a, b); }
    SLIPSTICK_INLINE static V min_unsigned16(V a, V b) { return _mm256_min_epu16(a, b); }
    // -1 where it holds, else 0.
    SLIPSTICK_INLINE static V equal16(V a, V b) { return _mm256_cmpeq_epi16(a, b); }
    SLIPSTICK_INLINE static V greater16(V a, V b) { return _mm256_cmpgt_epi16(a, b); }
    SLIPSTICK_INLINE static V low_product16(V a, V b) { return _mm256_mullo_epi16(a, b); }
    SLIPSTICK_INLINE static V abs16(V a) { return _mm256_abs_epi16(a); }
    SLIPSTICK_INLINE static V high_product16(V a, V b) { return _mm256_mulhi_epu16(a, b); }
    SLIPSTICK_INLINE static V shift_left16(V a, int n) { return _mm256_slli_epi16(a, n); }
    SLIPSTICK_INLINE static V half16(V a) { return _mm256_srai_epi16(a, 1); }
    template <int n>
    SLIPSTICK_INLINE static V shift_right16(V a) { return _mm256_srli_epi16(a, n); }
    SLIPSTICK_INLINE static V pack(V a, V b) { return _mm256_packs_epi16(a, b); }
    SLIPSTICK_INLINE static V pack_unsigned(V a, V b) { return _mm256_packus_epi16(a, b); }
    SLIPSTICK_INLINE static V unpack_low(V low, V high) { return _mm256_unpacklo_epi8(low, high); }
    SLIPSTICK_INLINE static V unpack_high(V low, V high) { return _mm256_unpackhi_epi8(low, high); }
    SLIPSTICK_INLINE static V add8(V a, V b) { return _mm256_add_epi8(a, b); }
    SLIPSTICK_INLINE static V add8_saturating(V a, V b) { return _mm256_adds_epu8(a, b); }
    SLIPSTICK_INLINE static V min8(V a, V b) { return _mm256_min_epu8(a, b); }
    SLIPSTICK_INLINE static V add8_signed_saturating(V a, V b) { return _mm256_adds_epi8(a, b); }
    SLIPSTICK_INLINE static V abs8(V a) { return _mm256_abs_epi8(a); }
    SLIPSTICK_INLINE static V equal8(V a, V b) { return _mm256_cmpeq_epi8(a, b); }
    SLIPSTICK_INLINE static V bit_and(V a, V b) { return _mm256_and_si256(a, b); }
    SLIPSTICK_INLINE static V bit_or(V a, V b) { return _mm256_or_si256(a, b); }
    SLIPSTICK_INLINE static V bit_xor(V a, V b) { return _mm256_xor_si256(a, b); }
    SLIPSTICK_INLINE static V and_not(V a, V b) { return _mm256_andnot_si256(b, a); }  // a & ~b
    SLIPSTICK_INLINE static V shuffle(V table, V i) { return _mm256_shuffle_epi8(table, i); }
    // Byte by byte: x where the top bit of `sign` is set, else y.
    SLIPSTICK_INLINE static V where_negative8(V sign, V x, V y) { return _mm256_blendv_epi8(y, x, sign); }
    // a > b ? x : y
    SLIPSTICK_INLINE static V where_greater16(V a, V b, V x, V y) {
        return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi16(a, b));
    }
    // Byte by byte: x where a is the larger of a and what it was compared with, else y. Words in two halves.
    SLIPSTICK_INLINE static V where_larger(V larger, V a, V larger2, V a2, V x, V y) {
        V left = pack(equal16(larger, a), equal16(larger2, a2));
        in_order(left);
        return where_negative8(left, x, y);
    }
    // Keeps the compiler from regrouping a chain of operations, which costs registers, and from loading x twice.
    SLIPSTICK_INLINE static void in_order(V& x) { asm("" : "+x"(x)); }
};

#elif defined(SLIPSTICK_ISA_avx512)

struct Int32 {
    using V = __m512i;
    static constexpr int kLanes = 16;
    SLIPSTICK_INLINE static V load(const void* p) { return _mm512_loadu_si512(p); }
    SLIPSTICK_INLINE static void store(void* p, V x) { _mm512_storeu_si512(p, x); }
    SLIPSTICK_INLINE static V all(int32_t x) { return _mm512_set1_epi32(x); }
    SLIPSTICK_INLINE static V add(V a, V b) { return _mm512_add_epi32(a, b); }
    SLIPSTICK_INLINE static V sub(V a, V b) { return _mm512_sub_epi32(a, b); }
    SLIPSTICK_INLINE static V min(V a, V b) { return _mm512_min_epi32(a, b); }
    SLIPSTICK_INLINE static V max(V a, V b) { return _mm512_max_epi32(a, b); }
    SLIPSTICK_INLINE static V bit_and(V a, V b) { return _mm512_and_si512(a, b); }
    SLIPSTICK_INLINE static V bit_or(V a, V b) { return _mm512_or_si512(a, b); }
    SLIPSTICK_INLINE static V bit_xor(V a, V b) { return _mm512_xor_si512(a, b); }
    SLIPSTICK_INLINE static V and_not(V a, V b) { return _mm512_andnot_si512(b, a); }  // a & ~b
    SLIPSTICK_INLINE static V xor_and(V a, V b, V c) { return _mm512_ternarylogic_epi32(a, b, c, 0x78); }  // a ^ (b & c)
    // a > b ? x : y
    SLIPSTICK_INLINE static V where_greater(V a, V b, V x, V y) {
        return _mm512_mask_mov_epi32(y, _mm512_cmpgt_epi32_mask(a, b), x);
    }
    // a == b ? x : y
    SLIPSTICK_INLINE static V where_equal(V a, V b, V x, V y) {
        return _mm512_mask_mov_epi32(y, _mm512_cmpeq_epi32_mask(a, b), x);
    }
    SLIPSTICK_INLINE static V shift_left(V a, int n) { return _mm512_slli_epi32(a, n); }
    SLIPSTICK_INLINE static V shift_right(V a, int n) { return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n)); }
    // Bit by bit: mask ? x : y.
    SLIPSTICK_INLINE static V select(V mask, V x, V y) { return _mm512_ternarylogic_epi32(mask, x, y, 0xCA); }
    // Looks up 64 words by the low six bits of every lane of i.
    SLIPSTICK_INLINE static V permute_words(V low, V high, V i) {
        return _mm512_maskz_permutex2var_epi16(0x55555555, low, i, high);
    }
#if defined(SLIPSTICK_EMULATED)
    SLIPSTICK_INLINE static V gather(const int32_t* table, V i) {
        int32_t index[16], value[16];
        std::memcpy(index, &i, sizeof index);
        for (int lane = 0; lane < 16; ++lane) value[lane] = table[index[lane]];
        return load(value);
    }
    static V where_odd_below(V a, V b, V x, V y) {
        uint32_t u[16], v[16], from[16], to[16];
        store(u, a);
        store(v, b);
        store(from, x);
        store(to, y);
        for (int lane = 0; lane < 16; ++lane) to[lane] = u[lane] % 2 && u[lane] < v[lane] ? from[lane] : to[lane];
        return load(to);
    }
#else
    // a odd and less than b, unsigned ? x : y
    SLIPSTICK_INLINE static V where_odd_below(V a, V b, V x, V y) {
        const __mmask16 odd = _mm512_test_epi32_mask(a, all(1));
        return _mm512_mask_mov_epi32(y, _mm512_mask_cmplt_epu32_mask(odd, a, b), x);
    }
    SLIPSTICK_INLINE static V gather(const int32_t* table, V i) { return _mm512_i32gather_epi32(i, table, 4); }
#endif
};

// 32 logs of 16 bits, or 64 signs and classes of 8. Packing and unpacking keep to 16-byte lanes, and undo each other.
struct Words {
    using V = __m512i;
    static constexpr int kBytes = 64;
    SLIPSTICK_INLINE static V load(const void* p) { return _mm512_loadu_si512(p); }
    SLIPSTICK_INLINE static void store(void* p, V x) { _mm512_storeu_si512(p, x); }
    SLIPSTICK_INLINE static V all16(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
    SLIPSTICK_INLINE static V all8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
    SLIPSTICK_INLINE static V all32(const void* p) {
        int32_t x;
        std::memcpy(&x, p, sizeof x);
        return _mm512_set1_epi32(x);
    }
    SLIPSTICK_INLINE static V add16(V a, V b) { return _mm512_add_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16(V a, V b) { return _mm512_sub_epi16(a, b); }
    SLIPSTICK_INLINE static V add16_saturating(V a, V b) { return _mm512_adds_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16_saturating(V a, V b) { return _mm512_subs_epi16(a, b); }
    SLIPSTICK_INLINE static V sub16_down_to_0(V a, V b) { return _mm512_subs_epu16(a, b); }
    SLIPSTICK_INLINE static V max_unsigned16(V a, V b) { return _mm512_max_epu16(a, b); }
    SLIPSTICK_INLINE static V min_unsigned16(V a, V b) { return _mm512_min_epu16(a, b); }
    SLIPSTICK_INLINE static V low_product16(V a, V b) { return _mm512_mullo_epi16(a, b); }
    SLIPSTICK_INLINE static V max16(V a, V b) { return _mm512_max_epi16(a, b); }
    SLIPSTICK_INLINE static V min16(V a, V b) { return _mm512_min_epi16(a, b); }
    SLIPSTICK_INLINE static V abs16(V a) { return _mm512_abs_epi16(a); }
#if defined(SLIPSTICK_EMULATED)
    // What SIMDe 0.7.4 lacks.
    template <typename Halves>
    static V by_halves(V a, V b, Halves work) {
        __m256i x[2], y[2];
        std::memcpy(x, &a, sizeof x);
        std::memcpy(y, &b, sizeof y);
        for (int half = 0; half < 2; ++half) x[half] = work(x[half], y[half]);
        return load(x);
    }
    static V high_product16(V a, V b) {
        return by_halves(a, b, [](__m256i x, __m256i y) { return _mm256_mulhi_epu16(x, y); });
    }
    static V where_greater16(V a, V b, V x, V y) {
        int16_t u[32], v[32], from[32], to[32];
        store(u, a);
        store(v, b);
        store(from, x);
        store(to, y);
        for (int i = 0; i < 32; ++i) to[i] = u[i] > v[i] ? from[i] : to[i];
        return load(to);
    }
    static V equal16(V a, V b) {
        return by_halves(a, b, [](__m256i x, __m256i y) { return _mm256_cmpeq_epi16(x, y); });
    }
    static V greater16(V a, V b) {
        return by_halves(a, b, [](__m256i x, __m256i y) { return _mm256_cmpgt_epi16(x, y); });
    }
    static void in_order(V&) {}
#else
    // a > b ? x : y
    SLIPSTICK_INLINE static V where_greater16(V a, V b, V x, V y) {
        return _mm512_mask_mov_epi16(y, _mm512_cmpgt_epi16_mask(a, b), x);
    }
    SLIPSTICK_INLINE static V high_product16(V a, V b) { return _mm512_mulhi_epu16(a, b); }
    // -1 where it holds, else 0.
    SLIPSTICK_INLINE static V equal16(V a, V b) { return _mm512_movm_epi16(_mm512_cmpeq_epi16_mask(a, b)); }
    SLIPSTICK_INLINE static V greater16(V a, V b) { return _mm512_movm_epi16(_mm512_cmpgt_epi16_mask(a, b)); }
    // Keeps the compiler from regrouping a chain of operations, which costs instructions.
    SLIPSTICK_INLINE static void in_order(V& x) { asm("" : "+v"(x)); }
#endif
    SLIPSTICK_INLINE static V shift_left16(V a, int n) { return _mm512_slli_epi16(a, n); }
    SLIPSTICK_INLINE static V half16(V a) { return _mm512_srai_epi16(a, 1); }
    SLIPSTICK_INLINE static V pack(V a, V b) { return _mm512_packs_epi16(a, b); }
    SLIPSTICK_INLINE static V pack_unsigned(V a, V b) { return _mm512_packus_epi16(a, b); }
    SLIPSTICK_INLINE static V unpack_low(V low, V high) { return _mm512_unpacklo_epi8(low, high); }
    SLIPSTICK_INLINE static V unpack_high(V low, V high) { return _mm512_unpackhi_epi8(low, high); }
    SLIPSTICK_INLINE static V add8(V a, V b) { return _mm512_add_epi8(a, b); }
    SLIPSTICK_INLINE static V add8_saturating(V a, V b) { return _mm512_adds_epu8(a, b); }
    SLIPSTICK_INLINE static V min8(V a, V b) { return _mm512_min_epu8(a, b); }
    SLIPSTICK_INLINE static V add8_signed_saturating(V a, V b) { return _mm512_adds_epi8(a, b); }
    SLIPSTICK_INLINE static V abs8(V a) { return _mm512_abs_epi8(a); }
    SLIPSTICK_INLINE static V bit_and(V a, V b) { return _mm512_and_si512(a, b); }
    SLIPSTICK_INLINE static V bit_or(V a, V b) { return _mm512_or_si512(a, b); }
    SLIPSTICK_INLINE static V bit_xor(V a, V b) { return _mm512_xor_si512(a, b); }
    SLIPSTICK_INLINE static V and_not(V a, V b) { return _mm512_andnot_si512(b, a); }  // a & ~b
    SLIPSTICK_INLINE static V shuffle(V table, V i) { return _mm512_shuffle_epi8(table, i); }
    SLIPSTICK_INLINE static V bit_xor3(V a, V b, V c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
    // Bit by bit: mask ? x : y.
    SLIPSTICK_INLINE static V select(V mask, V x, V y) { return _mm512_ternarylogic_epi32(mask, x, y, 0xCA); }
    // Byte by byte: x where the top bit of `sign` is set, else y.
    SLIPSTICK_INLINE static V where_negative8(V sign, V x, V y) { return where8(negative8(sign), x, y); }
    using Mask = __mmask64;
    SLIPSTICK_INLINE static Mask negative8(V a) { return _mm512_movepi8_mask(a); }
    SLIPSTICK_INLINE static V where8(Mask m, V x, V y) { return _mm512_mask_mov_epi8(y, m, x); }
    SLIPSTICK_INLINE static V where8_or_zero(Mask m, V x) { return _mm512_maskz_mov_epi8(m, x); }
    // Byte by byte: x where a is the larger of a and what it was compared with, else y. Words in two halves.
    SLIPSTICK_INLINE static V where_larger(V larger, V a, V larger2, V a2, V x, V y) {
        const V behind = pack(sub16(larger, a), sub16(larger2, a2));
        return where8(_mm512_test_epi8_mask(behind, behind), y, x);
    }
    // Looks up 64 words by the low six bits of every word of i.
    SLIPSTICK_INLINE static V permute16(V low, V high, V i) { return _mm512_permutex2var_epi16(low, i, high); }
    template <int n>
    SLIPSTICK_INLINE static V shift_right16(V a) { return _mm512_srli_epi16(a, n); }
    // Bytes to the right by as many bits as byte_shift was given, less than 8.
    SLIPSTICK_INLINE static V shift_bytes(V a, V matrix) { return _mm512_gf2p8affine_epi64_epi8(a, matrix, 0); }
    SLIPSTICK_INLINE static V byte_shift(int n) {
        constexpr uint64_t kIdentity = 0x0102040810204080;
        return _mm512_set1_epi64(static_cast<int64_t>(kIdentity << 8 * n));
    }
    // Looks up 128 bytes by the low seven bits of every byte of i.
    SLIPSTICK_INLINE static V permute(V low, V high, V i) { return _mm512_permutex2var_epi8(low, i, high); }
};

#else

struct Int32 {
    using V = int32_t;
    static constexpr int kLanes = 1;
    SLIPSTICK_INLINE static V load(const void* p) {
        V x;
        std::memcpy(&x, p, sizeof x);
        return x;
    }
    SLIPSTICK_INLINE static void store(void* p, V x) { std::memcpy(p, &x, sizeof x); }
    SLIPSTICK_INLINE static V all(int32_t x) { return x; }
    SLIPSTICK_INLINE static V add(V a, V b) { return static_cast<V>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
    SLIPSTICK_INLINE static V sub(V a, V b) { return a - b; }
    SLIPSTICK_INLINE static V min(V a, V b) { return a < b ? a : b; }
    SLIPSTICK_INLINE static V max(V a, V b) { return a > b ? a : b; }
    SLIPSTICK_INLINE static V bit_and(V a, V b) { return a & b; }
    SLIPSTICK_INLINE static V bit_or(V a, V b) { return a | b; }
    SLIPSTICK_INLINE static V bit_xor(V a, V b) { return a ^ b; }
    SLIPSTICK_INLINE static V and_not(V a, V b) { return a & ~b; }
    SLIPSTICK_INLINE static V xor_and(V a, V b, V c) { return a ^ (b & c); }
    SLIPSTICK_INLINE static V gather(const int32_t* table, V i) { return table[i]; }
    SLIPSTICK_INLINE static V where_equal(V a, V b, V x, V y) { return a == b ? x : y; }
    SLIPSTICK_INLINE static V where_greater(V a, V b, V x, V y) { return a > b ? x : y; }
};

#endif

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
