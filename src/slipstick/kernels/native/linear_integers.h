// Any datapath: terms looked up one by one, each addition stopped where the accumulator ends.
#pragma once

#include "gemm_simd.h"
#include "linear.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Outputs of one row and up to kLinearUnit columns; lanes beyond `columns` repeat the first, and are not stored.
template <bool kSaturate>
class IntegerSums {
public:
    using S = Int32;
    static constexpr int kVectors = kLinearUnit / S::kLanes;

    const LinearBlock& block;

    void run(int row, int column, int columns, int32_t* out) const {
        const int16_t* a = block.a + block.a_rows[row];
        const int64_t* places = block.b_columns + column;
        const int32_t* table = block.plan->terms.data();
        const int32_t zero = block.plan->zero();
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
                if (kSaturate) sums[i] = with_room(sums[i], term, low, high);
                sums[i] = S::add(sums[i], term);
            }
        }
        int32_t made[kLinearUnit];
        for (int i = 0; i < kVectors; ++i) S::store(made + i * S::kLanes, sums[i]);
        std::memcpy(out, made, sizeof(int32_t) * columns);
    }

private:
    // The sum, moved away from an end of the accumulator that adding the term would pass. With 31 bits the sum itself
    // would leave int32.
    static typename S::V with_room(typename S::V sum, typename S::V term, typename S::V low, typename S::V high) {
        const typename S::V none = S::all(0);
        sum = S::min(sum, S::sub(high, S::max(term, none)));
        return S::max(sum, S::sub(low, S::min(term, none)));
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
