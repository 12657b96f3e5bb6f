// Tables of 16-bit entries: a load for every lane, which costs less than gathers. Indices come out of their vectors eight
// bytes at a time: by way of memory they take longer, for a processor is slow to pass on parts of what it has just
// stored. AVX2 and AVX-512.
#pragma once

#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Entries of a table, eight at a time.
struct Loads {
    const void* table;

    // By indices in words.
    SLIPSTICK_INLINE __m128i words(__m128i index) const {
        const uint64_t low = first(index), high = second(index);
        return entries(low & 0xFFFF, low >> 16 & 0xFFFF, low >> 32 & 0xFFFF, low >> 48, high & 0xFFFF,
                       high >> 16 & 0xFFFF, high >> 32 & 0xFFFF, high >> 48);
    }

    // By indices in 32-bit lanes, four and four.
    SLIPSTICK_INLINE __m128i lanes(__m128i index, __m128i more) const {
        const uint64_t a = first(index), b = second(index), c = first(more), d = second(more);
        return entries(a & 0xFFFFFFFF, a >> 32, b & 0xFFFFFFFF, b >> 32, c & 0xFFFFFFFF, c >> 32, d & 0xFFFFFFFF,
                       d >> 32);
    }

private:
    SLIPSTICK_INLINE static uint64_t first(__m128i x) { return static_cast<uint64_t>(_mm_cvtsi128_si64(x)); }
    SLIPSTICK_INLINE static uint64_t second(__m128i x) { return static_cast<uint64_t>(_mm_extract_epi64(x, 1)); }
    SLIPSTICK_INLINE uint16_t at(uint64_t i) const { return static_cast<const uint16_t*>(table)[i]; }

    SLIPSTICK_INLINE __m128i entries(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g,
                                     uint64_t h) const {
        __m128i x = _mm_cvtsi32_si128(at(a));
        x = _mm_insert_epi16(x, at(b), 1);
        x = _mm_insert_epi16(x, at(c), 2);
        x = _mm_insert_epi16(x, at(d), 3);
        x = _mm_insert_epi16(x, at(e), 4);
        x = _mm_insert_epi16(x, at(f), 5);
        x = _mm_insert_epi16(x, at(g), 6);
        return _mm_insert_epi16(x, at(h), 7);
    }
};

#if defined(SLIPSTICK_ISA_avx2)

// By indices in words.
SLIPSTICK_INLINE __m256i load_words(Loads table, __m256i i) {
    return _mm256_set_m128i(table.words(_mm256_extracti128_si256(i, 1)), table.words(_mm256_castsi256_si128(i)));
}

// By indices in 32-bit lanes, with their signs.
SLIPSTICK_INLINE __m256i load_signed(Loads table, __m256i i) {
    return _mm256_cvtepi16_epi32(table.lanes(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1)));
}

#elif defined(SLIPSTICK_EMULATED)

template <typename Entry, typename Index>
__m512i load_each(Loads table, __m512i i) {
    constexpr int kCount = 64 / sizeof(Index);
    Index index[kCount], entry[kCount];
    Words::store(index, i);
    for (int k = 0; k < kCount; ++k) entry[k] = static_cast<Index>(static_cast<const Entry*>(table.table)[index[k]]);
    return Words::load(entry);
}

__m512i load_words(Loads table, __m512i i) { return load_each<uint16_t, uint16_t>(table, i); }
__m512i load_signed(Loads table, __m512i i) { return load_each<int16_t, int32_t>(table, i); }

#else

template <int part>
SLIPSTICK_INLINE __m128i part_of(__m512i x) {
    return part == 0 ? _mm512_castsi512_si128(x) : _mm512_extracti32x4_epi32(x, part);
}

SLIPSTICK_INLINE __m512i load_words(Loads table, __m512i i) {
    const __m256i low = _mm256_set_m128i(table.words(part_of<1>(i)), table.words(part_of<0>(i)));
    const __m256i high = _mm256_set_m128i(table.words(part_of<3>(i)), table.words(part_of<2>(i)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

SLIPSTICK_INLINE __m512i load_signed(Loads table, __m512i i) {
    const __m128i low = table.lanes(part_of<0>(i), part_of<1>(i)), high = table.lanes(part_of<2>(i), part_of<3>(i));
    return _mm512_cvtepi16_epi32(_mm256_set_m128i(high, low));
}

#endif

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
