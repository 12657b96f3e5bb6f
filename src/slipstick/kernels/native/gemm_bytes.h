// Narrow formats: logs in 16 bits, signs and table indices in bytes. An addition:
//     d = u - v, larger = max(u, v), z = d packed to bytes with saturation: its top bit says u < v
//     entry = table[class(|d|), signs differ], a byte of bias - D >= 0
//     sum = larger - entry, sign = u < v ? sign of v : sign of u
// Zero is a log far below every other; opposite equal numbers are dropped there by a large entry.
#pragma once

#include "gemm_word_units.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <typename Lookup, ByteMode kMode>
struct Bytes : WordUnits {
    static constexpr int kTogether = 1;
    static constexpr bool kLazy = false;
    static constexpr int kPeriod = kRunPeriod;

    const Conversion* conversion;
    const BytePlan* plan;
    Lookup lookup;
    V bias, zero, dead, low, high;

    Bytes(const GemmPlan& p, const BytePlan& bytes)
        : conversion(&p.conversion), plan(&bytes), lookup(bytes), bias(S::all16(bytes.bias)),
          zero(S::all16(bytes.zero)), dead(S::all16(bytes.dead)), low(S::all16(bytes.low)),
          high(S::all16(bytes.high)) {}

    void pack_columns(const int16_t* codes, char* out) const {
        Value x = of_codes(codes, *conversion, plan->column_offset, S::all16(plan->column_zero));
        x.sign = S::bit_and(x.sign, S::all8(Lookup::kSign));
        store(out, x);
    }

    void pack_columns(const int32_t*, char*) const {}  // wide codes never come here

    // Without branches, so that the compiler makes vector code of it.
    template <typename Code>
    void pack_row(const Code* codes, const uint8_t* positions, int64_t count, uint32_t* out) const {
        const int32_t zero_code = conversion->zero_code, scale = 1 << conversion->shift, offset = plan->row_offset;
        const int32_t row_zero = plan->row_zero, step = kMode == ByteMode::rounded ? 0 : plan->bias;
        for (int64_t k = 0; k < count; ++k) {
            const int32_t code = codes[k], lowered = positions[k] * step;
            const int32_t dead = kMode == ByteMode::floor ? row_zero : row_zero - lowered;
            int32_t log = code == zero_code ? dead : (code >> 1) * scale + offset - lowered;
            log = log < INT16_MIN ? INT16_MIN : log;
            out[2 * k] = (static_cast<uint32_t>(log) & 0xFFFFu) * 0x00010001u;
            out[2 * k + 1] = static_cast<uint32_t>(-(code & 1)) & (Lookup::kSign * 0x01010101u);
        }
    }

    SLIPSTICK_INLINE Value product(const char* row, const char* columns) const {
        const V log = S::all32(row), sign = S::all32(row + 4);
        return {sum(S::load(columns), log), sum(S::load(columns + S::kBytes), log),
                S::bit_xor(S::load(columns + 2 * S::kBytes), sign)};
    }

    SLIPSTICK_INLINE Value add(const Value& a, const Value& b) const {
        const V first = S::sub16(a.first, b.first), second = S::sub16(a.second, b.second);
        const V z = S::pack(first, second);
        const auto entry = lookup(first, second, z, a.sign, b.sign);
        return {difference(S::max16(a.first, b.first), S::unpack_low(entry.low, entry.high)),
                difference(S::max16(a.second, b.second), S::unpack_high(entry.low, entry.high)),
                Lookup::sign(z, a.sign, b.sign)};
    }

    // Whether partial sums of so many levels may lie below the format.
    bool must_clamp(int levels) const { return levels > plan->free_levels; }

    // Puts back the bias of so many additions and lifts zeros that sank; clamp: rounds to the format's lower end too.
    SLIPSTICK_INLINE Value settle(const Value& x, int additions, bool clamp) const {
        if (kMode == ByteMode::rounded) return x;
        const V lift = additions == 1 ? bias : S::all16(plan->bias * additions);
        const V first = S::add16(x.first, lift), second = S::add16(x.second, lift);
        if (clamp) return {clamped(first), clamped(second), x.sign};
        if (kMode == ByteMode::floor) return {first, second, x.sign};
        return {S::max16(first, zero), S::max16(second, zero), x.sign};
    }

    void finish(const Value& x, int32_t* logs, int32_t* signs) const {
        int16_t log[kUnit];
        spread(x, log, signs);
        for (int i = 0; i < kUnit; ++i) logs[i] = log[i] <= plan->dead ? INT32_MIN : log[i] - plan->offset;
    }

private:
    SLIPSTICK_INLINE V sum(V a, V b) const {
        if (kMode == ByteMode::saturating) return S::add16_saturating(a, b);
        const V x = S::add16(a, b);
        return kMode == ByteMode::rounded ? clamped(S::min16(x, high)) : x;
    }

    SLIPSTICK_INLINE V difference(V a, V b) const {
        V x = kMode == ByteMode::saturating ? S::sub16_saturating(a, b) : S::sub16(a, b);
        S::in_order(x);
        return kMode == ByteMode::rounded ? clamped(S::min16(S::add16(x, bias), high)) : x;
    }

    SLIPSTICK_INLINE V clamped(V log) const {
        if (conversion->flush) return S::where_greater16(low, log, zero, log);
        return S::where_greater16(log, dead, S::max16(log, low), zero);
    }
};

inline const BytePlan& byte_plan(const GemmPlan& plan, bool rounded) {
#if defined(SLIPSTICK_ISA_avx2)
    return rounded ? plan.shuffle_rounded : plan.shuffle;
#else
    return rounded ? plan.permute_rounded : plan.permute;
#endif
}

template <typename Lookup, ByteMode kMode>
struct NativeBytes : Bytes<Lookup, kMode> {
    explicit NativeBytes(const GemmPlan& plan)
        : Bytes<Lookup, kMode>(plan, byte_plan(plan, kMode == ByteMode::rounded)) {}
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
