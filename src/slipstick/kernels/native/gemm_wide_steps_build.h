// Finding the cells on which an adder is constant (gemm_wide_steps_avx512.h). Included by gemm.cpp only.
#pragma once

#include "gemm_bytes_build.h"

namespace slipstick {

namespace {

constexpr int64_t kWideCells = 32;

// Fills the entries; false where a cell holds different ones.
bool fill(WideSteps& steps, const AdderTables& adder) {
    bool seen[2 * kWideCells] = {};
    for (int64_t d = 0; d <= adder.n(); ++d)
        for (bool opposite : {false, true}) {
            if (opposite && 2 * d < steps.cancelled) continue;
            const Differences differences{adder};
            const int64_t value = opposite ? differences.minus(d) : differences.plus(d);
            const int64_t entry = value == kCancel ? -1 : 2 * value + steps.offset;
            const int64_t place = (opposite ? kWideCells : 0) + ((d + steps.phase) >> steps.shift);
            if (entry < 0 || entry > UINT16_MAX || (seen[place] && steps.entries[place] != entry)) return false;
            steps.entries[place] = static_cast<uint16_t>(entry);
            seen[place] = true;
        }
    return true;
}

WideSteps make_wide_steps(const AdderTables& adder) {
    WideSteps steps;
    int64_t cancelled = 0, least = 0;
    while (cancelled < adder.n() && adder.minus[cancelled] == kCancel) ++cancelled;
    for (int64_t d = 0; d < adder.n(); ++d)
        least = std::min<int64_t>({least, adder.plus[d], d < cancelled ? 0 : adder.minus[d]});
    if (least < -UINT16_MAX) return steps;
    steps.cancelled = static_cast<int32_t>(2 * cancelled);
    steps.offset = static_cast<int32_t>(-2 * least);
    for (steps.shift = 0; steps.shift < 16; ++steps.shift)
        for (int phase : {0, (1 << steps.shift) / 2}) {
            steps.phase = phase;
            if ((adder.n() + phase) >> steps.shift >= kWideCells) continue;
            if ((steps.exact = fill(steps, adder))) return steps;
        }
    return steps;
}

}  // namespace

}  // namespace slipstick
