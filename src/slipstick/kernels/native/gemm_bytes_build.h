// Making byte-class plans: choose classes on which both tables are constant, then prove the ranges.
// Included by gemm.cpp only.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "gemm_plan_build.h"
#include "gemm_schedule.h"

namespace slipstick {

int ByteClasses::index(int64_t d) const {
    if (near) {
        const int64_t fine = std::min<int64_t>(d, UINT8_MAX);
        return static_cast<int>(std::min(fine, (fine >> shift) + offset));
    }
    const int64_t saturation = bits <= 7 ? 127 : 255;
    int64_t fine = std::min<int64_t>(d, bits <= 7 ? 128 : 255);
    if (shift > 0) fine = std::min(fine, std::min(std::min(d >> shift, saturation) + offset, saturation));
    return static_cast<int>(std::min<int64_t>(fine, top));
}

namespace {

constexpr int kLargestDifference = 32767;

// Tables as functions of every d that 16 bits can hold.
struct Differences {
    const AdderTables& adder;

    int32_t plus(int64_t d) const { return d < adder.n() ? adder.plus[d] : 0; }
    int32_t minus(int64_t d) const { return d < adder.n() ? adder.minus[d] : 0; }

    // Classes are intervals of d, so one that reaches beyond n contains n: it is enough to look that far.
    bool constant_on(const ByteClasses& classes) const {
        int64_t first[256];
        std::fill(first, first + 256, -1);
        for (int64_t d = 0; d <= adder.n(); ++d) {
            int64_t& seen = first[classes.index(d)];
            if (seen < 0) seen = d;
            if (plus(d) != plus(seen) || minus(d) != minus(seen)) return false;
        }
        return true;
    }

    // The class that d and everything beyond may share because the sum no longer changes there.
    int first_idle_class(const ByteClasses& classes) const {
        int64_t d = adder.n();
        while (d > 0 && plus(d - 1) == 0 && minus(d - 1) == 0) --d;
        return classes.index(d);
    }
};

constexpr int64_t kTreeLevels = 24;  // of all merges of a sum
constexpr int64_t kFreeLevels = 8;   // of a chunk whose merges need not look at the lower end of the range
constexpr int kLazyLevels = 4;       // additions on a path before lazy kernels put the bias back

// Constants of int16 arithmetic for which no live value meets a dead one (that stands for zero) within the adder's
// sight and nothing wraps. All in logs without the operands' offset; `positions`: how many biases a value can lack.
bool set_ranges(BytePlan& plan, const Growth& growth, const Order& order, bool saturating) {
    const bool runs = order.kind != OrderKind::tree;
    const int64_t positions = runs ? kRunPeriod + 1 : 2;
    const int64_t free_levels =
        growth.down > 0 ? std::min(kFreeLevels, (growth.limit - growth.product) / growth.down) : kFreeLevels;
    // Dead values rise too: over the additions before the first settlement, then over every merge that does not clamp,
    // and once more in the merge that does.
    const int64_t first_rise = runs ? growth.last + growth.up : 2 * growth.up, rise = (free_levels + 1) * growth.up;
    const int64_t highest =
        std::min(growth.limit, growth.product + kTreeLevels * growth.up + (runs ? first_rise : 0));
    const int64_t lowest = -std::max(growth.limit, growth.product) - 2 * growth.down;
    const int64_t offset = saturating ? -((highest + 2) / 2) : 0;  // of each operand
    const int64_t dead = lowest + 2 * offset - growth.last, zero = dead - rise;
    const int64_t drop = (highest + 2 * offset - zero + 255) / 256 * 256;
    if (drop > 127 * 256 || zero < INT16_MIN) return false;
    int64_t operand_zero = INT16_MIN;
    if (saturating) {
        if (growth.product / 2 + offset > 0 || INT16_MIN + positions * plan.bias + first_rise > zero) return false;
    } else {
        operand_zero = zero - growth.product / 2 - first_rise;
        const int64_t least = 2 * operand_zero - (runs ? 1 : 2) * drop - positions * plan.bias;
        if (least < INT16_MIN || highest - least > INT16_MAX) return false;
        if (zero - drop - plan.bias < INT16_MIN) return false;
    }
    plan.mode = saturating ? ByteMode::saturating : ByteMode::plain;
    plan.row_zero = plan.column_zero = static_cast<int32_t>(operand_zero);
    plan.row_offset = plan.column_offset = static_cast<int32_t>(offset);
    plan.offset = static_cast<int32_t>(2 * offset);
    plan.dead = static_cast<int32_t>(dead);
    plan.zero = static_cast<int32_t>(zero);
    plan.low = static_cast<int32_t>(-growth.limit + 2 * offset);
    plan.second[0] = static_cast<uint8_t>(drop / 256);
    plan.free_levels = static_cast<int>(free_levels);
    int64_t terms = growth.unchecked_terms(order);
    if (order.kind == OrderKind::tree) terms = std::min(terms, (int64_t{1} << kTreeLevels) / order.size);
    if (order.kind == OrderKind::blocked) terms = std::min(terms, (int64_t{1} << kTreeLevels) / 16);
    plan.terms = terms;
    return terms > 0;
}

// The same where every product and sum is rounded: zeros are then at `zero` before every addition.
bool set_rounded_ranges(BytePlan& plan, const Growth& growth) {
    const int64_t dead = -std::max(growth.limit + growth.down, growth.product) - 1;
    const int64_t zero = std::min(-growth.limit - growth.last, dead - growth.up);
    const int64_t operand_zero = dead - growth.product / 2;
    const int64_t drop = (growth.limit - dead + 255) / 256 * 256;
    if (drop > 127 * 256 || zero - drop - plan.bias < INT16_MIN || 2 * operand_zero < INT16_MIN) return false;
    if (growth.limit + growth.up - zero > INT16_MAX || growth.product > INT16_MAX) return false;
    plan.mode = ByteMode::rounded;
    plan.row_zero = plan.column_zero = static_cast<int32_t>(operand_zero);
    plan.dead = static_cast<int32_t>(dead);
    plan.zero = static_cast<int32_t>(zero);
    plan.low = static_cast<int32_t>(-growth.limit);
    plan.high = static_cast<int32_t>(growth.limit);
    plan.second[0] = static_cast<uint8_t>(drop / 256);
    plan.terms = INT64_MAX;
    return true;
}

// Fills the tables by class. False where an entry needs more than `second` can hold.
bool set_tables(BytePlan& plan, const AdderTables& adder) {
    const Differences differences{adder};
    bool seen[256] = {};
    for (int64_t d = 0; d <= kLargestDifference; ++d) {
        const int c = plan.classes.index(d);
        if (seen[c]) continue;
        seen[c] = true;
        const int64_t plus = plan.bias - differences.plus(d), raw = differences.minus(d);
        if (raw == kCancel && c != 0) return false;
        const int64_t minus = plan.bias - (raw == kCancel ? 0 : raw);  // the drop is in `second`
        if (plus < 0 || plus > 255 || minus < 0 || (minus > 255 && c >= kSlice) || minus > 32767) return false;
        plan.plus[c] = static_cast<uint8_t>(plus);
        plan.minus[c] = static_cast<uint8_t>(minus);
        if (c != 0) {
            if (c < kSlice) plan.second[c] = static_cast<uint8_t>(minus >> 8);
        } else if (raw != kCancel) {
            return false;
        }
    }
    return true;
}

void set_slice_steps(BytePlan& plan) {
    for (int lane = 0; lane < kTableLane; ++lane)
        for (int slice = 0; slice < kSlices / 2; ++slice)
            plan.slice_steps[slice][lane] = static_cast<uint8_t>(0x70 - kSlice * slice);
}

void set_slices(BytePlan& plan) {
    const int count = plan.slices();
    for (int slice = 0; slice < count; ++slice)
        for (int lane = 0; lane < kTableLane; ++lane) {
            const int c = slice * kSlice + lane % kSlice;
            const bool chained = slice + 1 < count && slice != 7;
            plan.plus_slices[slice][lane] = plan.plus[c] ^ (chained ? plan.plus[c + kSlice] : 0);
            plan.minus_slices[slice][lane] = plan.minus[c] ^ (chained ? plan.minus[c + kSlice] : 0);
        }
    for (int lane = 0; lane < kTableLane; ++lane) plan.second_slice[lane] = plan.second[lane % kSlice];
    set_slice_steps(plan);
}

BytePlan make_byte_plan(const Arithmetic& arithmetic, const ByteClasses& classes, bool rounded) {
    const Growth growth(arithmetic);
    BytePlan plan;
    plan.classes = classes;
    plan.bias = static_cast<int32_t>(growth.up);
    if (classes.bits == 0 || growth.up > 255 || arithmetic.operand.width() > 16) return BytePlan();
    const bool fits = rounded ? set_rounded_ranges(plan, growth)
                              : set_ranges(plan, growth, arithmetic.order, false) ||
                                    set_ranges(plan, growth, arithmetic.order, true);
    if (!fits || !set_tables(plan, arithmetic.accumulator_adder)) return BytePlan();
    set_slices(plan);
    return plan;
}

// Classes and tables alone, for an adder whose sums are rounded one by one.
BytePlan make_sum_plan(const AdderTables& adder, const ByteClasses& classes) {
    BytePlan plan;
    plan.classes = classes;
    for (const auto* table : {&adder.plus, &adder.minus})
        plan.bias = std::max(plan.bias, *std::max_element(table->begin(), table->end()));
    if (classes.bits == 0 || plan.bias > 255 || !set_tables(plan, adder)) return BytePlan();
    set_slices(plan);
    return plan;
}

// The cheapest of these classes on which both tables are constant; bits = 0 where there are none.
template <typename Cost>
ByteClasses cheapest_classes(const Differences& differences, const std::vector<ByteClasses>& all, Cost cost) {
    ByteClasses best;
    int least = INT_MAX;
    for (const ByteClasses& classes : all) {
        if (least < INT_MAX && cost(classes, 0) >= least) continue;
        if (!differences.constant_on(classes)) continue;
        const int price = cost(classes, differences.first_idle_class(classes));
        if (price >= least) continue;
        least = price;
        best = classes;
    }
    return best;
}

std::vector<ByteClasses> classes_of(std::initializer_list<int> widths) {
    std::vector<ByteClasses> all;
    for (int bits : widths)
        for (int shift = 0; shift <= 6; ++shift)
            for (int offset = shift ? 1 : 255; offset < 256; ++offset)
                all.push_back({bits, shift, shift ? offset : 0, (1 << bits) - 1});
    return all;
}

// With a coarse part of the difference's byte.
std::vector<ByteClasses> near_classes(std::initializer_list<int> widths) {
    std::vector<ByteClasses> all;
    for (int bits : widths)
        for (int shift = 1; shift <= 6; ++shift)
            for (int top = (1 << bits) - 1, offset = top - (UINT8_MAX >> shift); offset > 0; --offset)
                all.push_back({bits, shift, offset, top, true});
    return all;
}

// Where 16-byte shuffles look up (AVX2): instructions of an addition beyond what all classes need.
ByteClasses shuffle_classes(const Differences& differences) {
    static const std::vector<ByteClasses> all = classes_of({7, 8});
    ByteClasses classes = cheapest_classes(differences, all, [](const ByteClasses& c, int used) {
        return 5 * (used / kSlice + 1) + (c.bits == 8 ? 3 : 1) + (c.shift > 0 ? 6 : 0);
    });
    if (classes.bits) classes.top = differences.first_idle_class(classes);
    return classes;
}

// Where 64-byte permutations look up (AVX-512): 64 classes for both signs in one, 128 per sign in two, 256 in four.
ByteClasses permute_classes(const Differences& differences) {
    static const std::vector<ByteClasses> all = [] {
        std::vector<ByteClasses> near = near_classes({6, 7}), rest = classes_of({6, 7, 8});
        near.insert(near.end(), rest.begin(), rest.end());
        return near;
    }();
    return cheapest_classes(differences, all, [](const ByteClasses& c, int) {
        return (c.bits == 6 ? 19 : c.bits == 7 ? 21 : 28) + (c.near ? 3 : c.shift > 0 ? 6 : 0);
    });
}

}  // namespace

}  // namespace slipstick
