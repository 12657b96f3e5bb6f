// Making plans: every claim that a kernel rests on is checked here against the tables and the ranges.
// Included by gemm.cpp only.
#pragma once

#include <algorithm>
#include <climits>
#include <stdexcept>

#include "gemm_plan.h"

namespace slipstick {

namespace {

// How far sums can move, in logs of the accumulator.
struct Growth {
    int64_t product;  // largest |log| of a term
    int64_t up, down;  // largest rise and fall of one addition
    int64_t last;      // D is zero from here on
    int64_t limit;     // MAX of the accumulator

    explicit Growth(const Arithmetic& arithmetic) {
        const AdderTables& adder = arithmetic.accumulator_adder;
        const int shift = arithmetic.accumulator.frac_bits - arithmetic.operand.frac_bits;
        product = int64_t{2} * arithmetic.operand.max_log() << shift;
        limit = arithmetic.accumulator.max_log();
        last = adder.n();
        up = down = 0;
        for (const auto* table : {&adder.plus, &adder.minus})
            for (int32_t value : *table) {
                if (value == kCancel) continue;
                up = std::max<int64_t>(up, value);
                down = std::max<int64_t>(down, -static_cast<int64_t>(value));
            }
    }

    // Up to how many terms no sum rises above MAX, and none falls below -MAX before a merge that checks it.
    int64_t unchecked_terms(const Order& order) const {
        if (product + 2 * down > limit) return 0;
        int64_t room = limit - product;
        if (order.kind != OrderKind::tree) {
            room -= last + up;  // a run stops growing once it exceeds its newest term by `last`
            if (room < 0) return 0;
            if (order.kind == OrderKind::sequential) return INT64_MAX;
        }
        // A tree of 2^levels leaves rises at most `up` per level. Radix r may use log2(r) - 1 levels more than that.
        int64_t levels = up > 0 ? room / up : 62;
        if (order.kind == OrderKind::tree)
            for (int r = order.size; r > 2; r /= 2) --levels;
        else
            levels -= 3;
        const int64_t leaves = levels < 0 ? 0 : int64_t{1} << std::min<int64_t>(levels, 40);
        return order.kind == OrderKind::tree ? leaves : leaves * order.size;
    }
};

int32_t checked32(int64_t value) {
    if (value < INT32_MIN || value > INT32_MAX)
        throw std::invalid_argument("the adder's tables exceed the range of 32-bit kernels");
    return static_cast<int32_t>(value);
}

}  // namespace

}  // namespace slipstick
