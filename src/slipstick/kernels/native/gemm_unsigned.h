// Logs in unsigned 16 bits, signs in bytes: twice the range of gemm_bytes.h, for adders whose entries need 16 bits.
//
// Zero is 0, out of which no subtraction leads, for all of them stop at 0. An addition:
//     larger = max(u, v), d = larger - min(u, v), sum = larger - entry[d, signs differ]
// An entry is bias - D >= 0, so that every addition lowers a sum by `bias` and `settle` puts it back; opposite equal
// numbers lose 65535. Live logs stay so far above 0 that an adder's tables end before they reach it.
#pragma once

#include "gemm_word_units.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Lookup: gemm_lines.h, gemm_loads.h, gemm_cells_avx512.h.
template <typename Lookup>
struct Unsigned : WordUnits {
    static constexpr int kTogether = Lookup::kTogether;
    static constexpr bool kLazy = true;
    static constexpr int kPeriod = kUnsignedPeriod;

    const Conversion* conversion;
    const UnsignedPlan* plan;
    Lookup lookup;
    V bias, low;

    explicit Unsigned(const GemmPlan& p)
        : conversion(&p.conversion), plan(&p.unsigned16), lookup(*plan), bias(S::all16(plan->bias)),
          low(S::all16(plan->low)) {}

    void pack_columns(const int16_t* codes, char* out) const {
        store(out, of_codes(codes, *conversion, plan->column_offset, S::all16(0)));
    }

    void pack_columns(const int32_t*, char*) const {}  // wide codes never come here

    // What a row takes from the columns' logs: everything where it is zero.
    template <typename Code>
    void pack_row(const Code* codes, const uint8_t* positions, int64_t count, uint32_t* out) const {
        const int32_t zero_code = conversion->zero_code, scale = 1 << conversion->shift, offset = plan->row_offset;
        const int32_t step = plan->bias;
        for (int64_t k = 0; k < count; ++k) {
            const int32_t code = codes[k], live = offset - (code >> 1) * scale + positions[k] % kPeriod * step;
            out[2 * k] = static_cast<uint32_t>(code == zero_code ? UINT16_MAX : live) * 0x00010001u;
            out[2 * k + 1] = static_cast<uint32_t>(-(code & 1));
        }
    }

    SLIPSTICK_INLINE Value product(const char* row, const char* columns) const {
        const V log = S::all32(row), sign = S::all32(row + 4);
        return {S::sub16_down_to_0(S::load(columns), log), S::sub16_down_to_0(S::load(columns + S::kBytes), log),
                S::bit_xor(S::load(columns + 2 * S::kBytes), sign)};
    }

    template <int N>
    SLIPSTICK_INLINE void add_all(const Value (&a)[N], const Value (&b)[N], Value (&to)[N]) const {
        V larger[2 * N], distance[2 * N], differ[N], entry[2 * N];
        for (int i = 0; i < N; ++i) {
            larger[2 * i] = S::max_unsigned16(a[i].first, b[i].first);
            larger[2 * i + 1] = S::max_unsigned16(a[i].second, b[i].second);
            distance[2 * i] = S::sub16(larger[2 * i], S::min_unsigned16(a[i].first, b[i].first));
            distance[2 * i + 1] = S::sub16(larger[2 * i + 1], S::min_unsigned16(a[i].second, b[i].second));
            differ[i] = S::bit_xor(a[i].sign, b[i].sign);
            to[i].sign = S::where_larger(larger[2 * i], a[i].first, larger[2 * i + 1], a[i].second, a[i].sign, b[i].sign);
        }
        lookup.template operator()<N>(distance, differ, larger, entry);
        for (int i = 0; i < N; ++i) {
            to[i].first = S::sub16_down_to_0(larger[2 * i], entry[2 * i]);
            to[i].second = S::sub16_down_to_0(larger[2 * i + 1], entry[2 * i + 1]);
        }
    }

    SLIPSTICK_INLINE Value add(const Value& a, const Value& b) const {
        const Value u[1] = {a}, v[1] = {b};
        Value sum[1];
        add_all<1>(u, v, sum);
        return sum[0];
    }

    // Whether partial sums of so many levels may lie below the format.
    bool must_clamp(int levels) const { return levels > plan->free_levels; }

    // Puts back the bias of so many additions; clamp: rounds to the format's lower end too.
    SLIPSTICK_INLINE Value settle(const Value& x, int additions, bool clamp) const {
        const V lift = additions == 1 ? bias : S::all16(plan->bias * additions);
        return {settled(x.first, lift, clamp), settled(x.second, lift, clamp), x.sign};
    }

    void finish(const Value& x, int32_t* logs, int32_t* signs) const {
        uint16_t log[kUnit];
        spread(x, log, signs);
        for (int i = 0; i < kUnit; ++i) logs[i] = log[i] == 0 ? INT32_MIN : log[i] - plan->offset;
    }

private:
    SLIPSTICK_INLINE V settled(V log, V lift, bool clamp) const {
        const V zero = S::equal16(log, S::all16(0));
        V lifted = S::add16(log, lift);
        if (clamp) {
            const V within = S::max_unsigned16(lifted, low);
            lifted = conversion->flush ? S::bit_and(lifted, S::equal16(within, lifted)) : within;
        }
        return S::and_not(lifted, zero);
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
