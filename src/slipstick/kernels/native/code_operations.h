// Operations on runs of codes v = 2 L + s, a vector at a time. Included once per instruction set.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "code_lanes.h"
#include "elementwise.h"

#define SLIPSTICK_INLINE_LAMBDA __attribute__((always_inline))

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// What fills up the last vector of a run is 0, the code of 1, for which every operation is defined.
template <typename L>
struct Rest {
    typename L::Code codes[L::kLanes] = {};

    Rest() = default;
    Rest(const typename L::Code* from, int64_t n) { std::memcpy(codes, from, n * sizeof *from); }
};

// out[i] = f(a[i], b[i], c[i]).
template <typename L, typename F>
SLIPSTICK_INLINE void each(int64_t n, typename L::Code* out, const typename L::Code* a, const typename L::Code* b,
                           const typename L::Code* c, F f) {
    int64_t i = 0;
    for (; i + L::kLanes <= n; i += L::kLanes) L::store(out + i, f(L::load(a + i), L::load(b + i), L::load(c + i)));
    if (i == n) return;
    const Rest<L> x(a + i, n - i), y(b + i, n - i), z(c + i, n - i);
    Rest<L> result;
    L::store(result.codes, f(L::load(x.codes), L::load(y.codes), L::load(z.codes)));
    std::memcpy(out + i, result.codes, (n - i) * sizeof *out);
}

template <typename L, typename F>
SLIPSTICK_INLINE void each(int64_t n, typename L::Code* out, const typename L::Code* a, const typename L::Code* b,
                           F f) {
    using V = typename L::V;
    each<L>(n, out, a, b, a, [&](V x, V y, V) SLIPSTICK_INLINE_LAMBDA { return f(x, y); });
}

template <typename L, typename F>
SLIPSTICK_INLINE void each(int64_t n, typename L::Code* out, const typename L::Code* a, F f) {
    using V = typename L::V;
    each<L>(n, out, a, a, a, [&](V x, V, V) SLIPSTICK_INLINE_LAMBDA { return f(x); });
}

// A format as vectors: the rounding at an operation's exit, and what operations say of zero.
template <typename L>
struct Codec {
    using V = typename L::V;

    const bool flush;
    const V zero, highest, lowest, one, even;

    explicit Codec(const Format& f)
        : flush(f.flush), zero(L::all(f.zero_code())), highest(L::all(2 * f.max_log())),
          lowest(L::all(-2 * f.max_log())), one(L::all(1)), even(L::all(~1)) {}

    // twice: 2 L of any L; sign: 0 or 1.
    SLIPSTICK_INLINE V code(V twice, V sign) const {
        const V below = L::min(twice, highest);
        if (flush) return L::where_greater(lowest, below, zero, L::bit_or(below, sign));
        return L::bit_or(L::max(below, lowest), sign);
    }

    SLIPSTICK_INLINE V sign(V v) const { return L::bit_and(v, one); }
    SLIPSTICK_INLINE V twice(V v) const { return L::bit_and(v, even); }
    SLIPSTICK_INLINE V where_zero(V v, V x, V y) const { return L::where_equal(v, zero, x, y); }
    SLIPSTICK_INLINE V negated(V v) const { return where_zero(v, v, L::bit_xor(v, one)); }

    // step: 2 D; the sum is zero where x = y.
    SLIPSTICK_INLINE V sum(V a, V b, V step, V x, V y) const {
        const V larger = L::max(a, b);
        const V moved = code(twice(L::add(larger, step)), sign(larger));
        return where_zero(L::min(a, b), larger, L::where_equal(x, y, zero, moved));
    }

    // An integer that orders codes as their numbers are ordered.
    SLIPSTICK_INLINE V key(V v) const {
        const V mask = L::sub(L::bit_xor(v, v), sign(v));  // -1 for negative numbers
        return L::sub(L::bit_xor(L::sub(L::half(v), L::half(zero)), mask), mask);
    }
};

template <typename Code>
struct Gathered;

template <>
struct Gathered<int32_t> {
    static constexpr int32_t kCancelled = kCancel;
    static const int32_t* table(const AdderTables& adder) { return adder.joint.data(); }
};

template <>
struct Gathered<int16_t> {
    static constexpr int32_t kCancelled = kNarrowCancel;
    static const int16_t* table(const AdderTables& adder) { return adder.narrow.data(); }
};

// Any adder, by gathers. negate: b's sign is turned over, for subtraction.
template <typename L, bool negate>
void add_gathered(const Arithmetic& arithmetic, const typename L::Code* a, const typename L::Code* b, int64_t n,
                  typename L::Code* out) {
    using V = typename L::V;
    using Code = typename L::Code;
    const Codec<L> codec(arithmetic.operand);
    const auto* table = Gathered<Code>::table(arithmetic.adder);
    const V last = L::all(std::min<int32_t>(arithmetic.adder.n(), std::numeric_limits<Code>::max()));
    const V cancelled = L::all(Gathered<Code>::kCancelled);
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA {
        if (negate) vb = codec.negated(vb);
        const V d = L::min(L::magnitude(L::sub(L::half(va), L::half(vb))), last);
        const V step = L::gather(table, L::bit_or(L::doubled(d), codec.sign(L::bit_xor(va, vb))));
        return codec.sum(va, vb, L::doubled(step), step, cancelled);
    });
}

template <typename L>
void multiply(const Codec<L>& codec, const typename L::Code* a, const typename L::Code* b, int64_t n,
              typename L::Code* out) {
    using V = typename L::V;
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA {
        const V product = codec.code(L::add(codec.twice(va), codec.twice(vb)), codec.sign(L::bit_xor(va, vb)));
        return codec.where_zero(L::min(va, vb), codec.zero, product);
    });
}

template <typename L>
int32_t divide(const Codec<L>& codec, const typename L::Code* a, const typename L::Code* b, int64_t n,
               typename L::Code* out) {
    using V = typename L::V;
    V undefined = L::all(0);
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA {
        const V regular = codec.code(L::sub(codec.twice(va), codec.twice(vb)), codec.sign(L::bit_xor(va, vb)));
        const V quotient = codec.where_zero(vb, L::bit_or(codec.highest, codec.sign(va)), regular);
        undefined = L::bit_or(undefined, codec.where_zero(L::max(va, vb), codec.one, L::all(0)));
        return codec.where_zero(va, codec.zero, quotient);
    });
    return L::any(undefined) ? kZeroByZero : kOk;
}

template <typename L, bool larger>
void extreme(const Codec<L>& codec, const typename L::Code* a, const typename L::Code* b, int64_t n,
             typename L::Code* out) {
    using V = typename L::V;
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA {
        const V u = codec.key(va), v = codec.key(vb);
        return larger ? L::where_greater(v, u, vb, va) : L::where_greater(u, v, vb, va);
    });
}

// 1 where a > b (or not), 0 elsewhere.
template <typename L, bool holds>
void greater(const Codec<L>& codec, const typename L::Code* a, const typename L::Code* b, int64_t n,
             typename L::Code* out) {
    using V = typename L::V;
    const V yes = L::all(holds), no = L::all(!holds);
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA {
        return L::where_greater(codec.key(va), codec.key(vb), yes, no);
    });
}

template <typename L, bool holds>
void equal(const typename L::Code* a, const typename L::Code* b, int64_t n, typename L::Code* out) {
    using V = typename L::V;
    const V yes = L::all(holds), no = L::all(!holds);
    each<L>(n, out, a, b, [&](V va, V vb) SLIPSTICK_INLINE_LAMBDA { return L::where_equal(va, vb, yes, no); });
}

template <typename L, bool inverse>
int32_t root(const Codec<L>& codec, const typename L::Code* a, int64_t n, typename L::Code* out) {
    using V = typename L::V;
    const V nothing = L::all(0);
    V negative = nothing;
    each<L>(n, out, a, [&](V v) SLIPSTICK_INLINE_LAMBDA {
        negative = L::bit_or(negative, codec.sign(v));
        const V twice = codec.twice(L::half(v));  // 2 floor(L / 2)
        const V result = codec.code(inverse ? L::sub(nothing, twice) : twice, nothing);
        return codec.where_zero(v, inverse ? codec.highest : codec.zero, result);
    });
    return L::any(negative) ? kRootOfNegative : kOk;
}

template <typename L>
void reciprocal(const Codec<L>& codec, const typename L::Code* a, int64_t n, typename L::Code* out) {
    using V = typename L::V;
    const V nothing = L::all(0);
    each<L>(n, out, a, [&](V v) SLIPSTICK_INLINE_LAMBDA {
        return codec.where_zero(v, codec.highest, L::bit_or(L::sub(nothing, codec.twice(v)), codec.sign(v)));
    });
}

template <typename Code>
int32_t lookup(const Arithmetic& arithmetic, const Code* __restrict a, const int32_t* __restrict table, int64_t n,
               Code* __restrict out) {
    const int32_t zero = arithmetic.operand.zero_code();
    int32_t undefined = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int32_t entry = table[a[i] - zero];
        out[i] = static_cast<Code>(entry);
        undefined |= entry == kUndefined;
    }
    return undefined ? kNaN : kOk;
}

template <typename L, bool negate>
void add(const Arithmetic& arithmetic, const typename L::Code* a, const typename L::Code* b, int64_t n,
         typename L::Code* out);

template <typename L>
int32_t apply(const Arithmetic& arithmetic, Op op, const typename L::Code* a, const typename L::Code* b,
              const typename L::Code* c, const int32_t* table, int64_t n, typename L::Code* out) {
    using V = typename L::V;
    const Codec<L> codec(arithmetic.operand);
    const V nothing = L::all(0);
    switch (op) {
        case Op::add: add<L, false>(arithmetic, a, b, n, out); break;
        case Op::sub: add<L, true>(arithmetic, a, b, n, out); break;
        case Op::mul: multiply<L>(codec, a, b, n, out); break;
        case Op::div: return divide<L>(codec, a, b, n, out);
        case Op::max: extreme<L, true>(codec, a, b, n, out); break;
        case Op::min: extreme<L, false>(codec, a, b, n, out); break;
        case Op::neg: each<L>(n, out, a, [&](V v) SLIPSTICK_INLINE_LAMBDA { return codec.negated(v); }); break;
        case Op::abs: each<L>(n, out, a, [&](V v) SLIPSTICK_INLINE_LAMBDA { return codec.twice(v); }); break;
        case Op::sqrt: return root<L, false>(codec, a, n, out);
        case Op::rsqrt: return root<L, true>(codec, a, n, out);
        case Op::reciprocal: reciprocal<L>(codec, a, n, out); break;
        case Op::lookup: return lookup(arithmetic, a, table, n, out);
        case Op::select:
            each<L>(n, out, a, b, c, [&](V mask, V then, V otherwise) SLIPSTICK_INLINE_LAMBDA {
                return L::where_equal(mask, nothing, otherwise, then);
            });
            break;
        case Op::gt: greater<L, true>(codec, a, b, n, out); break;
        case Op::ge: greater<L, false>(codec, b, a, n, out); break;
        case Op::lt: greater<L, true>(codec, b, a, n, out); break;
        case Op::le: greater<L, false>(codec, a, b, n, out); break;
        case Op::eq: equal<L, true>(a, b, n, out); break;
        case Op::ne: equal<L, false>(a, b, n, out); break;
        default:  // is_zero
            each<L>(n, out, a, [&](V v) SLIPSTICK_INLINE_LAMBDA { return codec.where_zero(v, codec.one, nothing); });
    }
    return kOk;
}

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
