// Narrow formats: logs in 16 bits, signs and table indices in bytes.
//
// A unit is two vectors of logs and one vector of signs, in the byte order that packing 16-bit lanes gives, so that
// unpacking restores the order of the logs. An addition:
//     d = u - v, larger = max(u, v), z = d packed to bytes with saturation: its top bit says u < v
//     entry = table[class(|d|), signs differ], a byte of bias - D >= 0
//     sum = larger - entry, sign = u < v ? sign of v : sign of u
// Zero is a log far below every other; opposite equal numbers are dropped there by a large entry.
#pragma once

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <typename Lookup, ByteMode kMode>
struct Bytes {
    using S = Words;
    using V = S::V;
    static constexpr int kUnit = S::kBytes;
    static constexpr int kTogether = 1;
    static constexpr bool kLazy = false;
    static constexpr int kPeriod = kRunPeriod;
    static constexpr int kValueBytes = 3 * S::kBytes, kColumnBytes = 3 * S::kBytes, kRowBytes = 8;

    struct Value {
        V first, second, sign;
    };

    const Conversion* conversion;
    const BytePlan* plan;
    Lookup lookup;
    V bias, zero, dead, low, high;

    Bytes(const GemmPlan& p, const BytePlan& bytes)
        : conversion(&p.conversion), plan(&bytes), lookup(bytes), bias(S::all16(bytes.bias)),
          zero(S::all16(bytes.zero)), dead(S::all16(bytes.dead)), low(S::all16(bytes.low)),
          high(S::all16(bytes.high)) {}

    void pack_columns(const int16_t* codes, char* out) const {
        const V one = S::all16(1), zero_code = S::all16(conversion->zero_code);
        const V operand_zero = S::all16(plan->column_zero);
        const V offset = S::all16(plan->column_offset);
        V log[2], sign[2];
        for (int half = 0; half < 2; ++half) {
            const V v = S::load(codes + half * (kUnit / 2));  // the code of zero is the smallest
            const V live = S::add16(S::shift_left16(S::half16(v), conversion->shift), offset);
            log[half] = S::where_greater16(v, zero_code, live, operand_zero);
            sign[half] = S::sub16(S::all16(0), S::bit_and(v, one));
        }
        S::store(out, log[0]);
        S::store(out + S::kBytes, log[1]);
        S::store(out + 2 * S::kBytes, S::bit_and(S::pack(sign[0], sign[1]), S::all8(Lookup::kSign)));
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

    SLIPSTICK_INLINE static Value load(const char* p) {
        return {S::load(p), S::load(p + S::kBytes), S::load(p + 2 * S::kBytes)};
    }

    SLIPSTICK_INLINE static void store(char* p, const Value& x) {
        S::store(p, x.first);
        S::store(p + S::kBytes, x.second);
        S::store(p + 2 * S::kBytes, x.sign);
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
        const V opened[2] = {S::unpack_low(x.sign, x.sign), S::unpack_high(x.sign, x.sign)};
        int16_t log[kUnit], sign[kUnit];
        S::store(log, x.first);
        S::store(log + kUnit / 2, x.second);
        S::store(sign, opened[0]);
        S::store(sign + kUnit / 2, opened[1]);
        for (int i = 0; i < kUnit; ++i) {
            logs[i] = log[i] <= plan->dead ? INT32_MIN : log[i] - plan->offset;
            signs[i] = sign[i] < 0;
        }
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
