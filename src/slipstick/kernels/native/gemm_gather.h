// Codes of columns that do not lie together in memory, brought together term after term. Included once per instruction
// set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

constexpr size_t kMostAtOnce = 64;  // bytes that may be read behind an operand and written behind the gathered codes

// The columns of a unit as runs of neighbours.
struct ColumnRuns {
    int starts[kColumnAlign + 1];  // of every run among the columns; behind the last, how many there are
    int count = 0, longest = 0;

    ColumnRuns(const int64_t* columns, int of) {
        for (int j = 0; j < of; ++j)
            if (j == 0 || columns[j] != columns[j - 1] + 1) starts[count++] = j;
        starts[count] = of;
        for (int r = 0; r < count; ++r) longest = std::max(longest, starts[r + 1] - starts[r]);
    }
};

// Runs in steps of kBytes: what is copied too much, the next run overwrites.
template <size_t kBytes, typename Code>
void copy_runs(const Code* b, const int64_t* terms, int64_t length, const int64_t* columns, const ColumnRuns& runs,
               int unit, Code filler, Code* codes) {
    constexpr int kStep = kBytes / sizeof(Code);
    const int count = runs.starts[runs.count];
    for (int64_t k = 0; k < length; ++k, codes += unit) {
        const Code* from = b + terms[k];
        for (int r = 0; r < runs.count; ++r) {
            const Code* run = from + columns[runs.starts[r]];
            const int size = runs.starts[r + 1] - runs.starts[r];
            for (int done = 0; done < size; done += kStep) std::memcpy(codes + runs.starts[r] + done, run + done, kBytes);
        }
        std::fill(codes + count, codes + unit, filler);
    }
}

template <typename Code>
void copy_runs(const Code* b, const int64_t* terms, int64_t length, const int64_t* columns, const ColumnRuns& runs,
               int unit, Code filler, Code* codes) {
    const size_t bytes = runs.longest * sizeof(Code);
    const auto copy = bytes <= 4    ? copy_runs<4, Code>
                      : bytes <= 8  ? copy_runs<8, Code>
                      : bytes <= 16 ? copy_runs<16, Code>
                      : bytes <= 32 ? copy_runs<32, Code>
                                    : copy_runs<kMostAtOnce, Code>;
    copy(b, terms, length, columns, runs, unit, filler, codes);
}

constexpr int kSquare = 8;  // terms and columns that are transposed at once

// codes[places[i] * unit + j] = b[columns[j] + i], for i and j below kSquare.
template <typename Code>
SLIPSTICK_INLINE void transpose(const Code* b, const int64_t* columns, const int32_t* places, int unit, Code* codes) {
    for (int j = 0; j < kSquare; ++j)
        for (int i = 0; i < kSquare; ++i) codes[int64_t{places[i]} * unit + j] = b[columns[j] + i];
}

#if !defined(SLIPSTICK_ISA_portable)

SLIPSTICK_INLINE void transpose(const int16_t* b, const int64_t* columns, const int32_t* places, int unit,
                                int16_t* codes) {
    __m128i x[kSquare], y[kSquare];
    for (int j = 0; j < kSquare; ++j) x[j] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + columns[j]));
    for (int j = 0; j < kSquare; j += 2) {
        y[j] = _mm_unpacklo_epi16(x[j], x[j + 1]);
        y[j + 1] = _mm_unpackhi_epi16(x[j], x[j + 1]);
    }
    for (int j = 0; j < kSquare; j += 4)
        for (int i = 0; i < 2; ++i) {
            x[j + 2 * i] = _mm_unpacklo_epi32(y[j + i], y[j + i + 2]);
            x[j + 2 * i + 1] = _mm_unpackhi_epi32(y[j + i], y[j + i + 2]);
        }
    for (int i = 0; i < kSquare; ++i) {
        const __m128i term = i % 2 == 0 ? _mm_unpacklo_epi64(x[i / 2], x[i / 2 + 4])
                                        : _mm_unpackhi_epi64(x[i / 2], x[i / 2 + 4]);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + int64_t{places[i]} * unit), term);
    }
}

#endif

// Column by column, in squares where terms lie together. terms: in memory's order; term k goes to row places[k].
template <typename Code>
void gather_columns(const Code* b, const int64_t* terms, const int32_t* places, int64_t length, const int64_t* columns,
                    int count, int unit, Code filler, Code* codes) {
    for (int64_t k = 0; k < length;) {
        int together = 1;
        while (together < kSquare && k + together < length && terms[k + together] == terms[k] + together) ++together;
        int j = 0;
        if (together == kSquare)
            for (; j + kSquare <= count; j += kSquare)
                transpose(b + terms[k], columns + j, places + k, unit, codes + j);
        for (int i = 0; i < together; ++i) {
            Code* to = codes + int64_t{places[k + i]} * unit;
            for (int rest = j; rest < count; ++rest) to[rest] = b[terms[k + i] + columns[rest]];
            std::fill(to + count, to + unit, filler);
        }
        k += together;
    }
}

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
