// Encoding and decoding of codes of 16 bits, 32 at a time, by byte shuffles; see carrier_bytes.h.
// AVX2 only. On Zen 3 shuffles, packings and shifts share two of four ports: products, comparisons and additions do the
// work of shifts where they can.
#pragma once

#include <algorithm>

#include "arithmetic.h"
#include "carrier_lanes.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Tables of 3-byte entries: the lower 16 bits of 32 entries, and the rest.
struct ShuffleTable {
    using V = __m256i;

    V table[3][2];

    explicit ShuffleTable(const CarrierBytes::Table (&bytes)[3]) {
        for (int i = 0; i < 3; ++i)
            for (int half = 0; half < 2; ++half) table[i][half] = Words::load(bytes[i][half]);
    }

    struct Entries {
        V low[2], high[2];
    };

    // index: 32 bytes below 32.
    SLIPSTICK_INLINE Entries operator()(V index) const {
        const V upper = _mm256_cmpgt_epi8(index, Words::all8(15));
        V found[3];
        for (int i = 0; i < 3; ++i)
            found[i] = Words::where_negative8(upper, Words::shuffle(table[i][1], index),
                                              Words::shuffle(table[i][0], index));
        const V none = _mm256_setzero_si256();
        return {{Words::unpack_low(found[0], found[1]), Words::unpack_high(found[0], found[1])},
                {Words::unpack_low(found[2], none), Words::unpack_high(found[2], none)}};
    }
};

constexpr int kShuffled = 32;  // numbers at a time

// Floats cut into halves of 16 bits, with the fraction of the log that is due to the upper half.
struct CutFloats {
    static constexpr int64_t kSize = 4 * kShuffled;  // one after another, so that the stages of many overlap

    alignas(32) int16_t low[kSize], high[kSize], fraction[kSize];

    // In the order of 16 that packing 32-bit lanes gives.
    SLIPSTICK_INLINE void cut(const CarrierBytes& bytes, const float* x, int64_t n) {
        using S = Words;
        using V = S::V;
        const V factor = S::all16(bytes.factor), offset = S::all16(bytes.offset), scale = S::all16(bytes.scale);
        const V mantissa_bits = S::all16(0x7F);
        const V apart = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                         0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        for (int64_t i = 0; i < n; i += 16) {
            _mm_prefetch(reinterpret_cast<const char*>(x + i + kFloatsAhead), _MM_HINT_T0);
            const V a = S::shuffle(S::load(x + i), apart), b = S::shuffle(S::load(x + i + 8), apart);
            const V upper = _mm256_unpackhi_epi64(a, b), mantissa = S::bit_and(upper, mantissa_bits);
            const V parabola = _mm256_mullo_epi16(mantissa, S::sub16(factor, mantissa));
            S::store(low + i, _mm256_unpacklo_epi64(a, b));
            S::store(high + i, upper);
            S::store(fraction + i, S::high_product16(S::add16(parabola, offset), scale));
        }
    }
};

inline bool has_nan(const float* x, int64_t n) {
    int nan = 0;
    for (int64_t i = 0; i < n; ++i) nan |= x[i] != x[i];
    return nan != 0;
}

// The codes of floats that were cut. largest: takes the greatest upper half, without the sign.
template <bool flush>
struct Rounding {
    using S = Words;
    using V = S::V;

    const ShuffleTable thresholds;
    const V highest, lowest, zero, none, biases, mantissa_bits, exponent_bits, octaves;

    explicit Rounding(const Arithmetic& arithmetic)
        : Rounding(arithmetic.operand, arithmetic.carrier_bytes, 127 << arithmetic.operand.frac_bits) {}

    SLIPSTICK_INLINE void operator()(const CutFloats& x, int64_t n, int16_t* v, V& largest) const {
        for (int64_t i = 0; i < n; i += kShuffled) {
            const V k[2] = {S::load(x.fraction + i), S::load(x.fraction + i + 16)};
            const ShuffleTable::Entries threshold = thresholds(S::pack_unsigned(k[0], k[1]));
            for (int half = 0; half < 2; ++half) {
                const V low = S::load(x.low + i + 16 * half), high = S::load(x.high + i + 16 * half);
                const V carry = _mm256_cmpeq_epi16(_mm256_max_epu16(low, threshold.low[half]), low);
                const V mantissa = S::sub16(S::bit_and(high, mantissa_bits), carry);
                const V reached = _mm256_cmpgt_epi16(mantissa, threshold.high[half]);
                const V octave = S::high_product16(S::bit_and(high, exponent_bits), octaves);
                const V exact = S::sub16(S::add16(octave, k[half]), reached);
                const V log = S::sub16(S::max16(S::min16(exact, highest), lowest), biases);
                const V code = S::sub16(S::add16(log, log), _mm256_cmpgt_epi16(none, high));
                const V magnitude = S::add16(high, high);
                largest = _mm256_max_epu16(largest, magnitude);
                V dead = _mm256_cmpeq_epi16(S::bit_or(magnitude, low), none);
                if (flush) dead = S::bit_or(dead, _mm256_cmpgt_epi16(lowest, exact));
                const V kept = S::where_negative8(dead, zero, code);
                S::store(v + i + 16 * half, _mm256_permute4x64_epi64(kept, 0xD8));
            }
        }
    }

private:
    Rounding(const Format& format, const CarrierBytes& bytes, int bias)
        : thresholds(bytes.thresholds), highest(S::all16(bias + format.max_log())),
          lowest(S::all16(bias - format.max_log())), zero(S::all16(format.zero_code())), none(_mm256_setzero_si256()),
          biases(S::all16(bias)), mantissa_bits(S::all16(0x7F)), exponent_bits(S::all16(0x7F80)),
          octaves(S::all16(1 << (9 + format.frac_bits))) {}  // the upper half of a product is a shift
};

// False where there is a NaN. n: a multiple of kShuffled.
template <bool flush>
bool encode_shuffled(const Arithmetic& arithmetic, const float* x, int64_t n, int16_t* v) {
    const Rounding<flush> round(arithmetic);
    CutFloats floats;
    __m256i largest = _mm256_setzero_si256();
    for (int64_t i = 0; i < n; i += CutFloats::kSize) {
        const int64_t count = std::min(CutFloats::kSize, n - i);
        floats.cut(arithmetic.carrier_bytes, x + i, count);
        round(floats, count, v + i, largest);
    }
    const __m256i infinite = _mm256_cmpeq_epi16(_mm256_max_epu16(largest, Words::all16(0xFF00)), largest);
    return _mm256_testz_si256(infinite, infinite) || !has_nan(x, n);
}

template <bool stream>
SLIPSTICK_INLINE void put(float* to, __m256i bits) {
    if (stream)
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits);
    else
        Words::store(to, bits);
}

// stream: `x` lies at a multiple of 32 bytes and will not be read soon.
template <bool stream>
void decode_shuffled(const Arithmetic& arithmetic, const int16_t* v, int64_t n, float* x) {
    using S = Words;
    using V = S::V;
    const Format& format = arithmetic.operand;
    const ShuffleTable mantissas(arithmetic.carrier_bytes.mantissas);
    const int fraction_bits = (2 << format.frac_bits) - 2;
    const V fraction = S::all16(fraction_bits), octave = S::all16(~(fraction_bits | 1)), bias = S::all16(127 << 7);
    const V octaves = S::all16(1 << (6 - format.frac_bits)), top = S::all16(0x8000), zero = S::all16(format.zero_code());
    for (int64_t i = 0; i < n; i += kShuffled) {
        V code[2], index[2];
        for (int half = 0; half < 2; ++half) {
            code[half] = _mm256_permute4x64_epi64(S::load(v + i + 16 * half), 0xD8);
            index[half] = S::bit_and(code[half], fraction);
        }
        const ShuffleTable::Entries mantissa = mantissas(_mm256_srli_epi16(S::pack_unsigned(index[0], index[1]), 1));
        for (int half = 0; half < 2; ++half) {
            const V exponent = _mm256_mullo_epi16(S::bit_and(code[half], octave), octaves);
            const V magnitude = S::add16(S::add16(exponent, bias), mantissa.high[half]);
            const V high = S::bit_or(magnitude, _mm256_mullo_epi16(code[half], top));
            const V alive = S::and_not(high, _mm256_cmpeq_epi16(code[half], zero));  // zero has no mantissa
            put<stream>(x + i + 16 * half, _mm256_unpacklo_epi16(mantissa.low[half], alive));
            put<stream>(x + i + 16 * half + 8, _mm256_unpackhi_epi16(mantissa.low[half], alive));
        }
    }
}

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
