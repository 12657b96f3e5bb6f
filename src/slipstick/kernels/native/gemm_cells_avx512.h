// Adders made of lines, as in gemm_lines.h, whose pieces are found by looking up instead of comparing.
//
// Bytes cut differences into cells, words find the piece: at most one begins within a cell, where a sum carries.
//     cell = min(d, (d >> fine) + near, (d >> coarse) + distant), d no larger than the end of the tables
//     piece = (d + starts[cell, signs differ]) >> 10
//     bias - D = offsets[piece] + (key * factors[piece] / 2^16), key = d 2^n, or -1 - d 2^n where signs differ
#pragma once

#include "gemm_unsigned.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

struct CellLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kTogether = 1;

    V end, fine, coarse, near, distant, key_scale, low[2], high[2], offsets[2], factors[2];

    explicit CellLookup(const UnsignedPlan& p)
        : end(S::all16(p.cells.end)), fine(S::all16(1 << (16 - p.cells.fine))),
          coarse(S::byte_shift(p.cells.coarse - p.cells.fine)), near(S::all8(p.cells.near)),
          distant(S::all8(p.cells.distant)), key_scale(S::all16(1 << p.cells.key_shift)) {
        for (int i = 0; i < 2; ++i) {
            low[i] = S::load(p.cells.low + 64 * i);
            high[i] = S::load(p.cells.high + 64 * i);
            offsets[i] = S::load(p.cells.offsets + 32 * i);
            factors[i] = S::load(p.cells.factors + 32 * i);
        }
    }

    template <int N>
    SLIPSTICK_INLINE void operator()(const V (&distance)[2 * N], const V (&differ)[N], V (&)[2 * N],
                                     V (&entry)[2 * N]) const {
        for (int i = 0; i < N; ++i) {
            const V first = S::min_unsigned16(distance[2 * i], end), second = S::min_unsigned16(distance[2 * i + 1], end);
            const V shifted = S::pack_unsigned(S::high_product16(first, fine), S::high_product16(second, fine));
            V cell = S::min8(S::pack_unsigned(first, second), S::add8(shifted, near));
            cell = S::min8(cell, S::add8(S::shift_bytes(shifted, coarse), distant));
            const V index = S::bit_xor(cell, differ[i]);
            const V bottom = S::permute(low[0], low[1], index), top = S::permute(high[0], high[1], index);
            entry[2 * i] = of(first, S::unpack_low(bottom, top), S::unpack_low(differ[i], differ[i]));
            entry[2 * i + 1] = of(second, S::unpack_high(bottom, top), S::unpack_high(differ[i], differ[i]));
        }
    }

private:
    SLIPSTICK_INLINE V of(V d, V start, V differ) const {
        const V piece = S::shift_right16<kPieceShift>(S::add16(d, start));
        const V key = S::bit_xor(S::low_product16(d, key_scale), differ);
        const V line = S::high_product16(key, S::permute16(factors[0], factors[1], piece));
        return S::add16(S::permute16(offsets[0], offsets[1], piece), line);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
