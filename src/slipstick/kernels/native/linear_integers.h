// Any datapath: terms looked up one by one, each addition stopped where the accumulator ends.
#pragma once

#include "gemm_simd.h"
#include "linear.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Outputs of one row and kUnit columns. Columns beyond `columns` repeat the first.
template <bool kSaturate>
struct IntegerSums {
    using S = Int32;
    static constexpr int kVectors = kLinearUnit / S::kLanes;

    const LinearBlock& block;
    const int32_t* table;  // terms, then zeros up to twice the log that stands for zero
    int32_t zero;

    void run(int row, int column, int columns, int32_t* out) const {
        const int16_t* a = block.a + block.a_rows[row];
        const int64_t* places = block.b_columns + column;
        typename S::V sums[kVectors];
        for (auto& sum : sums) sum = S::all(0);
        const typename S::V high = S::all(block.plan->top()), low = S::all(-block.plan->top() - 1);
        for (int64_t k = 0; k < block.terms; ++k) {
            const int32_t code = a[block.a_terms[k]];
            if (code == 0) continue;
            const int32_t log = code < 0 ? -code - 1 : code - 1, sign = code < 0 ? -1 : 0;
            const int16_t* b = block.b + block.b_terms[k];
            int32_t logs[kLinearUnit], signs[kLinearUnit];
            for (int j = 0; j < kLinearUnit; ++j) {
                const int32_t other = b[places[j < columns ? j : 0]];
                logs[j] = other == 0 ? zero : (other < 0 ? -other - 1 : other - 1);
                signs[j] = other < 0 ? ~sign : sign;
            }
            for (int i = 0; i < kVectors; ++i) {
                const auto index = S::add(S::load(logs + i * S::kLanes), S::all(log));
                const auto flip = S::load(signs + i * S::kLanes);
                const auto term = S::sub(S::bit_xor(S::gather(table, index), flip), flip);
                sums[i] = S::add(sums[i], term);
                if (kSaturate) sums[i] = S::max(S::min(sums[i], high), low);
            }
        }
        for (int i = 0; i < kVectors; ++i) S::store(out + i * S::kLanes, sums[i]);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
