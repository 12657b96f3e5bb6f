// Sums of codes of 16 bits by tables of bytes, where classes of differences reproduce the adder: AVX2 and AVX-512.
#pragma once

#include "code_operations.h"
#include "gemm_plan.h"

#if defined(SLIPSTICK_ISA_avx512)
#include "gemm_lookup_avx512.h"
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

#if defined(SLIPSTICK_ISA_avx2)

// The telescoping slices of gemm_lookup_avx2.h for differences >= 0. kHigh: some entries exceed a byte.
template <bool kCoarse, int kSlices16, bool kHigh>
struct DifferenceLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kSign = 0xFF;

    struct Entry {
        V low, high;  // bytes of bias - D
    };

    const BytePlan* plan;
    const V scale, offset, top;

    explicit DifferenceLookup(const BytePlan& p)
        : plan(&p), scale(S::all16(1 << (16 - (p.classes.shift ? p.classes.shift : 1)))),
          offset(S::all8(p.classes.shift ? p.classes.offset : 255)),
          top(S::all8(p.classes.top)) {}

    SLIPSTICK_INLINE Entry operator()(V first, V second, V opposite) const {
        V c = S::pack_unsigned(first, second);
        if (kCoarse) {
            const V coarse = S::pack_unsigned(S::high_product16(first, scale), S::high_product16(second, scale));
            c = S::min8(c, S::add8_saturating(coarse, offset));
        }
        c = S::min8(c, top);
        V plus, minus;
        const V high = kHigh ? S::bit_and(S::shuffle(S::load(plan->second_slice), beyond(c, 0)), opposite)
                             : _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int i = 0; i < (kSlices16 < 8 ? kSlices16 : 8); ++i)
            join(plus, minus, i, i == (kSlices16 < 8 ? kSlices16 : 8) - 1 ? c : beyond(c, i));
        if (kSlices16 > 8) {
            const V upper = S::bit_xor(c, S::all8(0x80));
#pragma GCC unroll 8
            for (int i = 8; i < kSlices16; ++i)
                join(plus, minus, i, i == kSlices16 - 1 ? upper : beyond(upper, i - 8));
        }
        return {S::where_negative8(opposite, minus, plus), high};
    }

private:
    // Bit 7 is set from class 16 (slice + 1) on.
    SLIPSTICK_INLINE V beyond(V c, int slice) const {
        const V step = S::load(plan->slice_steps[slice]);
        return kSlices16 <= 8 ? S::add8(c, step) : S::add8_saturating(c, step);
    }

    SLIPSTICK_INLINE void join(V& plus, V& minus, int slice, V index) const {
        const V same = S::shuffle(S::load(plan->plus_slices[slice]), index);
        const V other = S::shuffle(S::load(plan->minus_slices[slice]), index);
        plus = slice == 0 ? same : S::bit_xor(plus, same);
        minus = slice == 0 ? other : S::bit_xor(minus, other);
        S::in_order(plus);
        S::in_order(minus);
    }
};

#else

// Differences >= 0 are none that the products' lookup does not take.
template <int kBits, Coarse kCoarse>
struct DifferenceLookup : PermuteLookup<kBits, kCoarse> {
    using Base = PermuteLookup<kBits, kCoarse>;
    using S = Words;
    using V = S::V;

    using Base::Base;

    SLIPSTICK_INLINE typename Base::Entry operator()(V first, V second, V opposite) const {
        return Base::operator()(first, second, S::pack(first, second), opposite, S::all8(0));
    }
};

#endif

// As many sums as a vector has bytes.
template <typename Lookup, bool negate>
struct ByteSum {
    using L = Codes<int16_t>;
    using V = L::V;

    const Codec<L> codec;
    const Lookup lookup;
    const V bias, nothing, signs;

    explicit ByteSum(const Arithmetic& arithmetic, const BytePlan& plan)
        : codec(arithmetic.operand), lookup(plan), bias(L::all(2 * plan.bias)), nothing(L::all(0)),
          signs(L::all8(Lookup::kSign)) {}

    SLIPSTICK_INLINE void operator()(const int16_t* a, const int16_t* b, int16_t* out) const {
        V u[2], v[2], d[2], unlike[2];
        for (int half = 0; half < 2; ++half) {
            u[half] = L::load(a + half * L::kLanes);
            v[half] = L::load(b + half * L::kLanes);
            if (negate) v[half] = codec.negated(v[half]);
            d[half] = L::sub16(L::half(L::max(u[half], v[half])), L::half(L::min(u[half], v[half])));
            unlike[half] = L::bit_xor(u[half], v[half]);
        }
        const V opposite = negative8(L::pack(codec.sign(unlike[0]), codec.sign(unlike[1])));
        const auto entry = lookup(d[0], d[1], L::bit_and(opposite, signs));
        const V entries[2] = {L::unpack_low(entry.low, entry.high), L::unpack_high(entry.low, entry.high)};
        for (int half = 0; half < 2; ++half) {
            const V step = L::sub16(bias, L::doubled(entries[half]));
            L::store(out + half * L::kLanes, codec.sum(u[half], v[half], step, unlike[half], codec.one));
        }
    }

private:
    // 0 or 1 becomes 0 or -1, in bytes.
    SLIPSTICK_INLINE V negative8(V flags) const { return L::sub8(nothing, flags); }
};

template <typename Lookup, bool negate>
void add_bytes(const Arithmetic& arithmetic, const BytePlan& plan, const int16_t* a, const int16_t* b, int64_t n,
               int16_t* out) {
    using L = Codes<int16_t>;
    constexpr int kTogether = 2 * L::kLanes;
    const ByteSum<Lookup, negate> sum(arithmetic, plan);
    int64_t i = 0;
    for (; i + kTogether <= n; i += kTogether) sum(a + i, b + i, out + i);
    if (i == n) return;
    int16_t rest[3][kTogether] = {};
    std::memcpy(rest[0], a + i, (n - i) * sizeof *a);
    std::memcpy(rest[1], b + i, (n - i) * sizeof *b);
    sum(rest[0], rest[1], rest[2]);
    std::memcpy(out + i, rest[2], (n - i) * sizeof *out);
}

using RunSum = void (*)(const Arithmetic&, const BytePlan&, const int16_t*, const int16_t*, int64_t, int16_t*);

// One compiled lookup, and what it can hold.
#if defined(SLIPSTICK_ISA_avx2)

struct SumKernel {
    bool coarse;
    int slices;
    bool high;
    RunSum add, subtract;

    bool holds(const BytePlan& plan) const {
        const bool needs_high = std::any_of(plan.second, plan.second + kSlice, [](uint8_t byte) { return byte != 0; });
        return plan.classes.bits > 0 && coarse >= (plan.classes.shift > 0) && slices >= plan.slices() &&
               high >= needs_high;
    }
};

template <bool kCoarse, int kSlices16, bool kHigh>
constexpr SumKernel sum_kernel() {
    using Lookup = DifferenceLookup<kCoarse, kSlices16, kHigh>;
    return {kCoarse, kSlices16, kHigh, &add_bytes<Lookup, false>, &add_bytes<Lookup, true>};
}

// The first that holds a plan's classes is taken.
const SumKernel kSumKernels[] = {
    sum_kernel<false, 3, false>(), sum_kernel<true, 4, false>(), sum_kernel<true, 7, false>(),
    sum_kernel<true, 8, true>(),   sum_kernel<false, 14, false>(), sum_kernel<true, 16, true>(),
};

inline const BytePlan& sum_plan(const GemmPlan& plan) { return plan.shuffle_sums; }

#else

struct SumKernel {
    int bits;
    Coarse coarse;
    RunSum add, subtract;

    bool holds(const BytePlan& plan) const {
        return bits == plan.classes.bits && coarse == coarse_of(plan.classes);
    }
};

template <int kBits, Coarse kCoarse>
constexpr SumKernel sum_kernel() {
    using Lookup = DifferenceLookup<kBits, kCoarse>;
    return {kBits, kCoarse, &add_bytes<Lookup, false>, &add_bytes<Lookup, true>};
}

const SumKernel kSumKernels[] = {
    sum_kernel<6, Coarse::none>(), sum_kernel<6, Coarse::near>(), sum_kernel<6, Coarse::far>(),
    sum_kernel<7, Coarse::none>(), sum_kernel<7, Coarse::near>(), sum_kernel<7, Coarse::far>(),
    sum_kernel<8, Coarse::none>(), sum_kernel<8, Coarse::far>(),
};

inline const BytePlan& sum_plan(const GemmPlan& plan) { return plan.permute_sums; }

#endif

inline const SumKernel* sum_kernel_of(const BytePlan& plan) {
    for (const SumKernel& kernel : kSumKernels)
        if (kernel.holds(plan)) return &kernel;
    return nullptr;
}

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
