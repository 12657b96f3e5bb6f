// Any tables whose entries fit 16 bits: a load for every lane.
#pragma once

#include "gemm_generic.h"
#include "gemm_unsigned.h"
#include "table_loads.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Of unsigned logs.
struct LoadLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kTogether = 1;

    Loads table;
    V end;

    explicit LoadLookup(const UnsignedPlan& p) : table{p.table.data()}, end(S::all16(p.last + 1)) {}

    template <int N>
    SLIPSTICK_INLINE void operator()(const V (&distance)[2 * N], const V (&differ)[N], V (&)[2 * N],
                                     V (&entry)[2 * N]) const {
#pragma GCC unroll 8
        for (int i = 0; i < 2 * N; ++i) {
            const V minus =
                i % 2 ? S::unpack_high(differ[i / 2], differ[i / 2]) : S::unpack_low(differ[i / 2], differ[i / 2]);
            const V d = S::min_unsigned16(distance[i], end);
            entry[i] = load_words(table, S::sub16(S::add16(d, d), minus));
        }
    }
};

// Of codes in 32-bit lanes.
struct WideLoadLookup {
    using S = Int32;
    using V = S::V;

    Loads table;
    V last, cancelled, zero;

    explicit WideLoadLookup(const GenericPlan& p)
        : table{p.narrow.data()}, last(S::all(p.last)), cancelled(S::all(kNarrowCancel)), zero(S::all(p.zero)) {}

    // index: 2 d + (signs differ).
    SLIPSTICK_INLINE V sum(V larger, V index) const {
        const V entry = load_signed(table, S::min(index, last));
        return S::where_equal(entry, cancelled, zero, S::add(larger, entry));
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
