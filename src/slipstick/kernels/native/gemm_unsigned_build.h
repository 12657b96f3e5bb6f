// Making plans of kernels with unsigned logs: the table of entries, the proof of ranges. Included by gemm.cpp only.
#pragma once

#include "gemm_cells_build.h"
#include "gemm_lines_build.h"
#include "gemm_steps_build.h"
#include "gemm_wide_steps_build.h"

namespace slipstick {

namespace {

constexpr int64_t kBlockLevels = 20;  // of all merges of block sums
static_assert(kUnsignedPeriod == kLazyLevels, "lazy trees and runs lack as many biases");

// Logs from 1 up, zero is 0. Until they are settled, values lack up to kUnsignedPeriod biases. A live one stays more
// than `last` above zero, out of the adder's sight.
bool set_unsigned_ranges(UnsignedPlan& plan, const Growth& growth, const Order& order) {
    const int64_t free_levels =
        growth.down > 0 ? std::min(kFreeLevels, (growth.limit - growth.product) / growth.down) : kFreeLevels;
    if (free_levels < kLazyLevels) return false;  // trees of 16 do not look at the lower end of the format
    const bool tree = order.kind == OrderKind::tree, blocked = order.kind == OrderKind::blocked;
    const int64_t levels = tree ? kTreeLevels : blocked ? kBlockLevels : 0;
    const int64_t lack = kUnsignedPeriod * growth.up, rise = tree ? 0 : growth.last + growth.up;
    const int64_t highest = std::min(growth.limit, growth.product + levels * growth.up + rise);
    const int64_t lowest = -std::max(growth.limit, growth.product) - 2 * growth.down;
    const int64_t offset = growth.last + 1 + lack - lowest;
    if (offset + highest > UINT16_MAX || growth.product + lack >= UINT16_MAX) return false;
    plan.far = offset + highest > INT16_MAX;
    plan.row_offset = static_cast<int32_t>(growth.product / 2);
    plan.column_offset = static_cast<int32_t>(offset + growth.product / 2);
    plan.offset = static_cast<int32_t>(offset);
    plan.low = static_cast<int32_t>(offset - growth.limit);
    plan.free_levels = static_cast<int>(free_levels);
    plan.terms = growth.unchecked_terms(order);
    if (tree) plan.terms = std::min(plan.terms, (int64_t{1} << levels) / order.size);
    if (blocked) plan.terms = std::min(plan.terms, (int64_t{1} << levels) / 16);
    return plan.terms > 0;
}

bool set_entries(UnsignedPlan& plan, const AdderTables& adder) {
    for (size_t d = 0; d < adder.plus.size(); ++d)
        for (int32_t value : {adder.plus[d], adder.minus[d]}) {
            const int64_t entry = value == kCancel ? UINT16_MAX : int64_t{plan.bias} - value;
            if (entry < 0 || entry > UINT16_MAX) return false;
            plan.table.push_back(static_cast<uint16_t>(entry));
        }
    return true;
}

UnsignedPlan make_unsigned_plan(const Arithmetic& arithmetic) {
    const Growth growth(arithmetic);
    const AdderTables& adder = arithmetic.accumulator_adder;
    UnsignedPlan plan;
    plan.bias = static_cast<int32_t>(growth.up);
    plan.last = adder.n() - 1;
    if (arithmetic.operand.width() > 16 || adder.n() >= INT16_MAX) return UnsignedPlan();
    if (!set_unsigned_ranges(plan, growth, arithmetic.order) || !set_entries(plan, adder)) return UnsignedPlan();
    plan.lines = make_line_tables(adder, plan.bias);
    plan.cells = make_cell_tables(adder, plan.bias);
    return plan;
}

}  // namespace

GemmPlan::GemmPlan(const Arithmetic& arithmetic) : order(arithmetic.order) {
    const Format &operand = arithmetic.operand, &accumulator = arithmetic.accumulator;
    conversion.shift = accumulator.frac_bits - operand.frac_bits;
    conversion.zero_code = operand.zero_code();
    conversion.max_log = operand.max_log();
    conversion.zero_log = operand.zero_log();
    conversion.low_log = operand.flush ? operand.zero_log() : -operand.max_log();
    conversion.flush = accumulator.flush;

    const Growth growth(arithmetic);
    const AdderTables& adder = arithmetic.accumulator_adder;
    // In codes 2 L + s. A live value stays within `reach`; `dead` is below all of them, `zero` stays below `dead` and
    // out of the adder's sight whatever a term adds to it, and `drop` takes every live value there.
    const int64_t end = 2 * growth.last + 2, step = 2 * std::max(growth.up, growth.down);
    const int64_t reach = 2 * std::max(growth.product, growth.limit) + 2 * step + 2;
    const int64_t dead_top = -reach - end - 2;
    const int64_t zero = dead_top - growth.product - 2 * step - 2, drop = reach + step - dead_top;
    generic.high = checked32(2 * growth.limit);
    generic.low = checked32(-2 * growth.limit);
    generic.dead = checked32(-reach - 1);
    generic.zero = checked32(zero - (zero & 1));
    generic.last = checked32(end - 1);
    // No difference and no sum wraps: two additions may follow each other before zeros are restored.
    if (2 * zero - 2 * drop < INT32_MIN + reach)
        throw std::invalid_argument("this format is too wide for 32-bit kernels");
    for (size_t d = 0; d < adder.plus.size(); ++d)
        for (int32_t value : {adder.plus[d], adder.minus[d]})
            generic.table.push_back(checked32(value == kCancel ? -(drop + (drop & 1)) : 2 * int64_t{value}));
    for (int16_t value : adder.narrow)
        generic.narrow.push_back(static_cast<int16_t>(value == kNarrowCancel ? value : 2 * value));
    generic.unchecked_terms = growth.unchecked_terms(order);
    generic.steps = make_wide_steps(adder);
    const Differences differences{adder};
    const ByteClasses shuffled = shuffle_classes(differences), permuted = permute_classes(differences);
    shuffle = make_byte_plan(arithmetic, shuffled, false);
    shuffle_rounded = make_byte_plan(arithmetic, shuffled, true);
    permute = make_byte_plan(arithmetic, permuted, false);
    permute_rounded = make_byte_plan(arithmetic, permuted, true);
    steps = make_step_plan(arithmetic);
    unsigned16 = make_unsigned_plan(arithmetic);
    const AdderTables& sums = arithmetic.adder;
    const bool same = sums.plus == adder.plus && sums.minus == adder.minus;
    shuffle_sums = make_sum_plan(sums, same ? shuffled : shuffle_classes({sums}));
    permute_sums = make_sum_plan(sums, same ? permuted : permute_classes({sums}));
}

}  // namespace slipstick
