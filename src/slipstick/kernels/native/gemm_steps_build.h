// Making plans of step kernels: cut both tables into slices, check them against every difference, prove the ranges.
// Included by gemm.cpp only.
#pragma once

#include "gemm_bytes_build.h"

namespace slipstick {

namespace {

constexpr int kCancelByte = 255;  // the entry of d = 0 with opposite signs, and of nothing else

// The byte bias - D of one table, or -1 where there is none.
struct ByteTable {
    const AdderTables& adder;
    int bias;
    bool opposite;

    int operator()(int64_t d) const {
        const Differences differences{adder};
        const int32_t value = opposite ? differences.minus(d) : differences.plus(d);
        if (value == kCancel) return d == 0 ? kCancelByte : -1;
        const int byte = bias - value;
        return byte < 0 || byte >= kCancelByte ? -1 : byte;
    }

    bool fits() const {
        for (int64_t d = 0; d <= adder.n(); ++d)
            if ((*this)(d) < 0) return false;
        return true;
    }

    // Slices by d that are needed where steps of 2^shift do not tell entries apart.
    int fine_slices(int shift) const {
        int slices = 0;
        for (int d = 0; d < 256; ++d)
            if ((*this)(d) != (*this)(d | ((1 << shift) - 1))) slices = d / kSlice + 1;
        return slices;
    }
};

// Slice i holds values[16 i ..] ^ values[16 i + 16 ..]: with every slice that does not answer giving 0, they telescope.
void cut(const std::vector<int>& values, int slices, uint8_t (*out)[kTableLane]) {
    const auto value = [&](int i) { return i < static_cast<int>(values.size()) ? values[i] : 0; };
    for (int slice = 0; slice < slices; ++slice)
        for (int lane = 0; lane < kTableLane; ++lane) {
            const int i = slice * kSlice + lane % kSlice;
            out[slice][lane] = static_cast<uint8_t>(value(i) ^ (slice + 1 < slices ? value(i + kSlice) : 0));
        }
}

void cut_table(const StepSlices& steps, const ByteTable& table, int fine, uint8_t (*out)[kTableLane]) {
    std::vector<int> coarse, rest;
    const int beyond = steps.wide ? table.bias : 0;
    for (int c = 0; c < steps.coarse * kSlice; ++c) coarse.push_back(table(((c + 1) << steps.shift) - 1) ^ beyond);
    for (int d = 0; d < fine * kSlice; ++d)
        rest.push_back(table(d) ^ (steps.coarse ? coarse[d >> steps.shift] ^ beyond : 0));
    cut(coarse, steps.coarse, out);
    cut(rest, fine, out + steps.coarse);
}

// What a step kernel finds, as it looks it up.
int look_up(const BytePlan& plan, const uint8_t (*slices)[kTableLane], int fine, int64_t d) {
    const StepSlices& steps = plan.steps;
    int byte = steps.wide ? plan.bias : 0;
    const auto join = [&](int slice, int64_t index, int64_t first, bool last) {
        if (index < first + kSlice || last) byte ^= slices[slice][index % kSlice];
    };
    const int64_t near = std::min<int64_t>(d, steps.coarse ? 255 : plan.classes.top);
    const int64_t far = std::min<int64_t>(steps.wide ? d >> steps.shift : near >> steps.shift, 255);
    for (int i = 0; i < steps.coarse; ++i) join(i, far, i * kSlice, !steps.wide && i + 1 == steps.coarse);
    for (int i = 0; i < fine; ++i) join(steps.coarse + i, near, i * kSlice, !steps.coarse && i + 1 == fine);
    return byte;
}

bool reproduces(const BytePlan& plan, const ByteTable& plus, const ByteTable& minus) {
    for (int64_t d = 0; d <= kLargestDifference; ++d)
        if (look_up(plan, plan.plus_slices, plan.steps.plus, d) != plus(d) ||
            look_up(plan, plan.minus_slices, plan.steps.minus, d) != minus(d))
            return false;
    return true;
}

// Logs from 0 up: a sum that would sink below 0 stays there. Values lack their biases until they are settled; `first`:
// how far above a term a sum of dead ones can come before that.
bool set_floor_ranges(BytePlan& plan, const Growth& growth, const Order& order) {
    const bool runs = order.kind != OrderKind::tree;
    const int64_t positions = runs ? kRunPeriod + 1 : kLazyLevels;
    const int64_t free_levels =
        growth.down > 0 ? std::min(kFreeLevels, (growth.limit - growth.product) / growth.down) : kFreeLevels;
    if (free_levels < kLazyLevels) return false;  // trees of 16 do not look at the lower end of the format
    const int64_t first = runs ? positions * plan.bias + growth.last + growth.up : kLazyLevels * growth.up;
    const int64_t rise = first + (free_levels + 1) * growth.up;
    const int64_t highest = std::min(growth.limit, growth.product + kTreeLevels * growth.up + (runs ? first : 0));
    const int64_t depth = std::max(growth.limit, growth.product) + 2 * growth.down;
    // Dead terms are at most offset + product / 2, dead sums `rise` above that; live ones at least 2 offset - depth.
    const int64_t offset = growth.product / 2 + rise + growth.last + depth + positions * plan.bias;
    if (2 * offset + highest > INT16_MAX) return false;
    plan.mode = ByteMode::floor;
    plan.row_offset = plan.column_offset = static_cast<int32_t>(offset);
    plan.offset = static_cast<int32_t>(2 * offset);
    plan.dead = static_cast<int32_t>(offset + growth.product / 2 + rise);
    plan.low = static_cast<int32_t>(2 * offset - growth.limit);
    plan.free_levels = static_cast<int>(free_levels);
    int64_t terms = growth.unchecked_terms(order);
    if (order.kind == OrderKind::tree) terms = std::min(terms, (int64_t{1} << kTreeLevels) / order.size);
    if (order.kind == OrderKind::blocked) terms = std::min(terms, (int64_t{1} << kTreeLevels) / 16);
    plan.terms = terms;
    return terms > 0;
}

// Slices by d alone, or with coarse ones: the fewest shuffles.
StepSlices fewest_slices(const ByteTable& plus, const ByteTable& minus) {
    StepSlices best;
    int least = 17;  // shuffles from which the byte classes of ShuffleLookup are as good
    int all = 1;
    for (int compiled : {8, 6, 3})
        if (plus.adder.n() < compiled * kSlice) all = compiled;
    if (plus.adder.n() < 8 * kSlice) {
        best.plus = best.minus = all;
        least = 2 * all;
    }
    if (plus.adder.n() > 256) return best;
    for (int shift : {2, 3, 4}) {
        StepSlices steps{shift, (256 >> shift) / kSlice, plus(255) != plus.bias || minus(255) != plus.bias, plus.fine_slices(shift),
                         minus.fine_slices(shift)};
        const int shuffles = 2 * steps.coarse + steps.plus + steps.minus + 1;
        if (shuffles >= least || std::max(steps.plus, steps.minus) > kSlices / 2) continue;
        best = steps;
        least = shuffles;
    }
    return best;
}

BytePlan make_step_plan(const Arithmetic& arithmetic) {
    const Growth growth(arithmetic);
    const AdderTables& adder = arithmetic.accumulator_adder;
    BytePlan plan;
    plan.bias = static_cast<int32_t>(growth.up);
    const ByteTable plus{adder, plan.bias, false}, minus{adder, plan.bias, true};
    if (growth.up > 255 || arithmetic.operand.width() > 16 || !plus.fits() || !minus.fits()) return BytePlan();
    plan.steps = fewest_slices(plus, minus);
    if (plan.steps.minus == 0 || !set_floor_ranges(plan, growth, arithmetic.order)) return BytePlan();
    plan.classes.bits = 8;
    plan.classes.top = adder.n();
    cut_table(plan.steps, plus, plan.steps.plus, plan.plus_slices);
    cut_table(plan.steps, minus, plan.steps.minus, plan.minus_slices);
    set_slice_steps(plan);
    return reproduces(plan, plus, minus) ? plan : BytePlan();
}

}  // namespace

}  // namespace slipstick
