// Any tables, any width: one int32 lane per sum, v = 2 L + s, the adder's tables by gather.
//
// The larger of two codes carries the sign of the sum, and
//     ((larger - (smaller & ~1)) ^ (smaller & 1))  =  2 d + (signs differ)
// indexes both tables at once. Zero is any code far below the smallest number: d is then beyond the tables.
#pragma once

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

struct GatherLookup {
    using S = Int32;
    using V = S::V;

    const int32_t* table;
    V last;

    explicit GatherLookup(const GenericPlan& p) : table(p.table.data()), last(S::all(p.last)) {}

    // index: 2 d + (signs differ).
    SLIPSTICK_INLINE V sum(V larger, V index) const { return S::add(larger, S::gather(table, S::min(index, last))); }
};

// kChecked: saturation at every step. Otherwise only `settle`, after every second level of a tree, looks at the range.
template <typename Lookup, bool kChecked>
struct Generic {
    using S = Int32;
    using V = S::V;
    static constexpr int kUnit = S::kLanes > 1 ? 2 * S::kLanes : 16;  // columns
    static constexpr int kTogether = 1;
    static constexpr bool kLazy = false;
    static constexpr int kPeriod = kRunPeriod;
    static constexpr int kVectors = kUnit / S::kLanes;
    static constexpr int kValueBytes = 4 * kUnit, kColumnBytes = 4 * kUnit, kRowBytes = 8;

    struct Value {
        V v[kVectors];
    };

    const Conversion* conversion;
    const GenericPlan* plan;
    Lookup lookup;

    explicit Generic(const GemmPlan& p) : conversion(&p.conversion), plan(&p.generic), lookup(p.generic) {}

    template <typename Code>
    void pack_columns(const Code* codes, char* out) const {
        int32_t v[kUnit];
        for (int i = 0; i < kUnit; ++i) {
            const int32_t code = codes[i], sign = code & 1;
            v[i] = code == conversion->zero_code ? plan->zero : ((code - sign) * (1 << conversion->shift)) | sign;
        }
        std::memcpy(out, v, sizeof v);
    }

    template <typename Code>
    void pack_row(const Code* codes, const uint8_t*, int64_t count, uint32_t* out) const {
        const int32_t zero_code = conversion->zero_code, scale = 1 << conversion->shift, zero = plan->zero;
        for (int64_t k = 0; k < count; ++k) {
            const int32_t code = codes[k], sign = code & 1;
            out[2 * k] = static_cast<uint32_t>(code == zero_code ? zero : (code - sign) * scale);
            out[2 * k + 1] = static_cast<uint32_t>(sign);
        }
    }

    SLIPSTICK_INLINE static Value load(const char* p) {
        Value x;
        for (int i = 0; i < kVectors; ++i) x.v[i] = S::load(p + 4 * S::kLanes * i);
        return x;
    }

    SLIPSTICK_INLINE static void store(char* p, const Value& x) {
        for (int i = 0; i < kVectors; ++i) S::store(p + 4 * S::kLanes * i, x.v[i]);
    }

    SLIPSTICK_INLINE Value product(const char* row, const char* columns) const {
        int32_t log, sign;
        std::memcpy(&log, row, 4);
        std::memcpy(&sign, row + 4, 4);
        const V a = S::all(log), s = S::all(sign);
        Value x;
        for (int i = 0; i < kVectors; ++i) {
            x.v[i] = S::bit_xor(S::add(S::load(columns + 4 * S::kLanes * i), a), s);
            if (kChecked) x.v[i] = rounded(x.v[i]);
        }
        return x;
    }

    SLIPSTICK_INLINE Value add(const Value& a, const Value& b) const {
        const V one = S::all(1);
        Value sum;
        for (int i = 0; i < kVectors; ++i) {
            const V larger = S::max(a.v[i], b.v[i]), smaller = S::min(a.v[i], b.v[i]);
            const V distance = S::sub(larger, S::and_not(smaller, one));
            sum.v[i] = lookup.sum(larger, S::xor_and(distance, smaller, one));
            if (kChecked) sum.v[i] = rounded(sum.v[i]);
        }
        return sum;
    }

    // Whether partial sums of so many levels may have left the lower end of the range. Zeros need gathering anyway.
    bool must_clamp(int) const { return true; }

    SLIPSTICK_INLINE Value settle(Value x, int, bool) const {
        if (!kChecked)
            for (int i = 0; i < kVectors; ++i) x.v[i] = rounded(x.v[i]);
        return x;
    }

    void finish(const Value& x, int32_t* logs, int32_t* signs) const {
        int32_t v[kUnit];
        std::memcpy(v, x.v, sizeof v);
        for (int i = 0; i < kUnit; ++i) {
            logs[i] = v[i] <= plan->dead ? INT32_MIN : v[i] >> 1;
            signs[i] = v[i] & 1;
        }
    }

private:
    // "Round to format": everything at or below `dead` becomes the one code of zero.
    SLIPSTICK_INLINE V rounded(V v) const {
        const V sign = S::bit_and(v, S::all(1));
        V log = S::min(S::bit_xor(v, sign), S::all(plan->high));
        const V zero = S::all(plan->zero), low = S::all(plan->low);
        if (conversion->flush) return S::where_greater(low, log, zero, S::bit_or(log, sign));
        const V live = S::bit_or(S::max(log, low), sign);
        return S::where_greater(log, S::all(plan->dead), live, zero);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
