// Adders that take steps far out, by 16-byte shuffles, two additions side by side.
//
// A table is the exclusive or of slices of 16 entries, as in gemm_lookup_avx2.h; but slices are taken by d itself where
// d is small and by d >> shift everywhere, and the ones that do not answer give 0: no class has to be computed. Entries
// are bytes below 255. 255 stands for "the sum is zero" and becomes 65535 when bytes are widened, so that a subtraction
// which stops at 0 takes every log there. Two additions share the loads of the slices and fill each other's waits.
#pragma once

#include "gemm_bytes.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// kShift 0: kPlus = kMinus slices by d, the last of which also answers for everything beyond. kWide: every slice gives
// 0 far out, where the entry is the bias.
template <int kShift, bool kWide, int kPlus, int kMinus>
struct StepLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kSign = 0xFF;
    static constexpr int kCoarse = kShift ? (256 >> kShift) / kSlice : 0;

    struct Entry {
        V low, high;
    };

    const BytePlan* plan;
    V bias, top, low_bits, cancel;

    explicit StepLookup(const BytePlan& p)
        : plan(&p), bias(S::all8(p.bias)), top(S::all8(p.classes.top)), low_bits(S::all8(255 >> kShift)),
          cancel(S::all8(0xFF)) {}

    // first, second: u - v of both halves of each addition; opposite: whether signs differ.
    template <int N>
    SLIPSTICK_INLINE void operator()(const V (&first)[N], const V (&second)[N], const V (&z)[N], const V (&opposite)[N],
                                     Entry (&to)[N]) const {
        V plus[N], minus[N], near[N], far[N], index[N];
        for (int i = 0; i < N; ++i) distances(first[i], second[i], z[i], near[i], far[i]);
        bool started = false;
#pragma GCC unroll 8
        for (int s = kCoarse - 1; s >= 0; --s) {
            const bool rest = !kWide && s == kCoarse - 1;
            for (int i = 0; i < N; ++i) index[i] = rest ? far[i] : beyond(far[i], s);
            join(plus, index, plan->plus_slices[s], started);
            join(minus, index, plan->minus_slices[s], started);
            started = true;
        }
#pragma GCC unroll 8
        for (int s = 0; s < (kPlus > kMinus ? kPlus : kMinus); ++s) {
            const bool rest = kShift == 0 && s == kPlus - 1;
            for (int i = 0; i < N; ++i) index[i] = rest ? near[i] : beyond(near[i], s);
            if (s < kPlus) join(plus, index, plan->plus_slices[kCoarse + s], started);
            if (s < kMinus) join(minus, index, plan->minus_slices[kCoarse + s], started);
            started = true;
        }
        for (int i = 0; i < N; ++i) {
            V low = S::where_negative8(opposite[i], minus[i], plus[i]);
            if (kWide) low = S::bit_xor(low, bias);
            to[i] = {low, S::equal8(low, cancel)};
        }
    }

    // The sign of u, or of v where z is negative.
    SLIPSTICK_INLINE static V sign(V z, V su, V sv) { return S::where_negative8(z, sv, su); }

private:
    SLIPSTICK_INLINE void distances(V first, V second, V z, V& near, V& far) const {
        if (kShift == 0) {
            near = far = S::min8(S::abs8(z), top);
            return;
        }
        first = S::abs16(first);
        second = S::abs16(second);
        near = S::pack_unsigned(first, second);
        far = kWide ? S::pack_unsigned(S::shift_right16<kShift>(first), S::shift_right16<kShift>(second))
                    : S::bit_and(S::shift_right16<kShift>(near), low_bits);
    }

    // Bit 7 says that slice `slice` does not answer.
    SLIPSTICK_INLINE V beyond(V d, int slice) const {
        return S::add8_saturating(d, S::load(plan->slice_steps[slice]));
    }

    template <int N>
    SLIPSTICK_INLINE static void join(V (&to)[N], const V (&index)[N], const uint8_t* slice, bool started) {
        V table = S::load(slice);
        S::in_order(table);
        for (int i = 0; i < N; ++i) {
            const V found = S::shuffle(table, index[i]);
            to[i] = started ? S::bit_xor(to[i], found) : found;
            S::in_order(to[i]);
        }
    }
};

template <typename Lookup>
struct Steps : Bytes<Lookup, ByteMode::floor> {
    using Base = Bytes<Lookup, ByteMode::floor>;
    using typename Base::S;
    using typename Base::V;
    using typename Base::Value;
    static constexpr int kTogether = 2;
    static constexpr bool kLazy = true;

    explicit Steps(const GemmPlan& plan) : Base(plan, plan.steps) {}

    template <int N>
    SLIPSTICK_INLINE void add_all(const Value (&a)[N], const Value (&b)[N], Value (&to)[N]) const {
        V first[N], second[N], z[N], opposite[N];
        typename Lookup::Entry entry[N];
        for (int i = 0; i < N; ++i) {
            Value u = a[i];
            S::in_order(u.first);
            S::in_order(u.second);
            S::in_order(u.sign);
            first[i] = S::sub16(u.first, b[i].first);
            second[i] = S::sub16(u.second, b[i].second);
            z[i] = S::pack(first[i], second[i]);
            opposite[i] = S::bit_xor(u.sign, b[i].sign);
            to[i] = {S::max16(u.first, b[i].first), S::max16(u.second, b[i].second),
                     Lookup::sign(z[i], u.sign, b[i].sign)};
        }
        this->lookup(first, second, z, opposite, entry);
        for (int i = 0; i < N; ++i) {
            to[i].first = S::sub16_down_to_0(to[i].first, S::unpack_low(entry[i].low, entry[i].high));
            to[i].second = S::sub16_down_to_0(to[i].second, S::unpack_high(entry[i].low, entry[i].high));
        }
    }

    SLIPSTICK_INLINE Value add(const Value& a, const Value& b) const {
        const Value u[1] = {a}, v[1] = {b};
        Value sum[1];
        add_all<1>(u, v, sum);
        return sum[0];
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
