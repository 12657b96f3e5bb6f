// Elementwise kernels, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
// Plain loops over int32 codes v = 2 L + s that the compiler vectorises; tables that do not fit registers are gathered.
#include "elementwise.h"

#include <cstring>

#include "carrier_lanes.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

constexpr int kFloatBias = 127;
constexpr int kDoubleBias = 1023;
constexpr uint32_t kFloatInfinity = 0x7F800000u;
constexpr uint64_t kDoubleInfinity = 0x7FF0000000000000ull;

struct Range {
    int32_t max, low, zero;  // largest log; what a log below -max becomes; the code v of zero

    explicit Range(const Format& f)
        : max(f.max_log()), low(f.flush ? f.zero_log() : -f.max_log()), zero(f.zero_code()) {}

    int32_t round(int32_t log) const {
        log = log > max ? max : log;
        return log < -max ? low : log;
    }

    // The code of a log already rounded; a flushed log loses its sign.
    int32_t code(int32_t log, int32_t sign) const {
        const int32_t v = 2 * log + sign;
        return v <= zero + 1 ? zero : v;
    }
};

inline int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t max32(int32_t a, int32_t b) { return a > b ? a : b; }

template <typename Code>
int32_t encode_each(const Arithmetic& arithmetic, const float* __restrict x, int64_t n, Code* __restrict v) {
    const Range range(arithmetic.operand);
    const int frac = arithmetic.operand.frac_bits;
    const int shift = arithmetic.encode_float.bucket_shift, drop = 23 - frac;
    const uint32_t mask = static_cast<uint32_t>(arithmetic.encode_float.offsets.size()) - 1;
    const int32_t* __restrict offsets = arithmetic.encode_float.offsets.data();
    const int32_t bias = kFloatBias << frac;
    int32_t nan = 0;
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, x + i, 4);
        const int32_t sign = static_cast<int32_t>(bits >> 31);
        bits &= 0x7FFFFFFFu;
        nan |= bits > kFloatInfinity;
        const uint32_t sum = bits + static_cast<uint32_t>(offsets[(bits >> shift) & mask]);
        const int32_t code = range.code(range.round(static_cast<int32_t>(sum >> drop) - bias), sign);
        v[i] = static_cast<Code>(bits == 0 ? range.zero : code);
    }
    return nan ? kNaN : kOk;
}

// Whole vectors with the table in registers where it fits; the rest one by one.
template <typename Code>
int32_t encode(const Arithmetic& arithmetic, const float* x, int64_t n, Code* v) {
    int64_t done = 0;
    int32_t status = kOk;
#if !defined(SLIPSTICK_ISA_portable)
    const auto& offsets = arithmetic.encode_float.offsets;
    if (n >= 4 * Lanes::kCount && RegisterTable::fits(offsets.size())) {
        const RegisterTable table(offsets.data(), static_cast<int>(offsets.size()));
        done = n - n % Lanes::kCount;
        const auto run = table.log2_size == 5   ? encode_lanes<5, Code>
                         : table.log2_size == 6 ? encode_lanes<6, Code>
                                                : encode_lanes<Lanes::kMaxTableLog2, Code>;
        if (!run(arithmetic, table, x, done, v)) status = kNaN;
    }
#endif
    return status | encode_each(arithmetic, x + done, n - done, v + done);
}

int32_t encode32(const Arithmetic& arithmetic, const float* x, int64_t n, int32_t* v) {
    return encode(arithmetic, x, n, v);
}

int32_t encode16(const Arithmetic& arithmetic, const float* x, int64_t n, int16_t* v) {
    return encode(arithmetic, x, n, v);
}

int32_t encode_double(const Arithmetic& arithmetic, const double* x, int64_t n, int32_t* v) {
    const Range range(arithmetic.operand);
    const int frac = arithmetic.operand.frac_bits;
    const int shift = arithmetic.encode_double.bucket_shift, drop = 52 - frac;
    const uint64_t mask = arithmetic.encode_double.offsets.size() - 1;
    const int64_t* offsets = arithmetic.encode_double.offsets.data();
    int32_t status = kOk;
    for (int64_t i = 0; i < n; ++i) {
        uint64_t bits;
        std::memcpy(&bits, x + i, 8);
        const int32_t sign = static_cast<int32_t>(bits >> 63);
        bits &= 0x7FFFFFFFFFFFFFFFull;
        if (bits > kDoubleInfinity) status |= kNaN;
        const uint64_t sum = bits + static_cast<uint64_t>(offsets[(bits >> shift) & mask]);
        const int32_t log = static_cast<int32_t>(sum >> drop) - (kDoubleBias << frac);
        v[i] = bits == 0 ? range.zero : range.code(range.round(log), sign);
    }
    return status;
}

void decode_each(const Arithmetic& arithmetic, const int32_t* __restrict v, int64_t n, float* __restrict x) {
    const int frac = arithmetic.operand.frac_bits;
    const int32_t mask = (1 << frac) - 1, zero = arithmetic.operand.zero_code();
    const int32_t* __restrict mantissas = arithmetic.decode.data();
    for (int64_t i = 0; i < n; ++i) {
        const int32_t log = v[i] >> 1;
        uint32_t bits = static_cast<uint32_t>((log >> frac) + kFloatBias) << 23;
        bits |= static_cast<uint32_t>(mantissas[log & mask]) | static_cast<uint32_t>(v[i]) << 31;
        bits = v[i] == zero ? 0u : bits;
        std::memcpy(x + i, &bits, 4);
    }
}

void decode32(const Arithmetic& arithmetic, const int32_t* v, int64_t n, float* x) {
    int64_t done = 0;
#if !defined(SLIPSTICK_ISA_portable)
    if (n >= 4 * Lanes::kCount && RegisterTable::fits(arithmetic.decode.size())) {
        const RegisterTable table(arithmetic.decode.data(), static_cast<int>(arithmetic.decode.size()));
        done = n - n % Lanes::kCount;
        const auto run = table.log2_size == 5   ? decode_lanes<5>
                         : table.log2_size == 6 ? decode_lanes<6>
                                                : decode_lanes<Lanes::kMaxTableLog2>;
        run(arithmetic.operand, table, v, done, x);
    }
#endif
    decode_each(arithmetic, v + done, n - done, x + done);
}

// negate_b turns b's sign over, for subtraction.
void add(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict b, int64_t n,
         int32_t* __restrict out, int32_t negate_b) {
    const Range range(arithmetic.operand);
    const int32_t last = arithmetic.adder.n();
    const int32_t* __restrict joint = arithmetic.adder.joint.data();
    for (int64_t i = 0; i < n; ++i) {
        const int32_t va = a[i], vb = b[i] == range.zero ? range.zero : (b[i] ^ negate_b);
        const int32_t la = va >> 1, lb = vb >> 1;
        const int32_t difference = la - lb;
        const int32_t d = min32(difference < 0 ? -difference : difference, last);
        const int32_t step = joint[2 * d + ((va ^ vb) & 1)];
        const int32_t sign = (difference >= 0 ? va : vb) & 1;
        int32_t sum = range.code(range.round(max32(la, lb) + step), sign);
        sum = step == kCancel ? range.zero : sum;
        sum = va == range.zero ? vb : sum;
        out[i] = vb == range.zero ? va : sum;
    }
}

void multiply(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict b, int64_t n,
              int32_t* __restrict out) {
    const Range range(arithmetic.operand);
    for (int64_t i = 0; i < n; ++i) {
        const int32_t va = a[i], vb = b[i];
        const int32_t product = range.code(range.round((va >> 1) + (vb >> 1)), (va ^ vb) & 1);
        out[i] = (va == range.zero) | (vb == range.zero) ? range.zero : product;
    }
}

int32_t divide(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict b, int64_t n,
               int32_t* __restrict out) {
    const Range range(arithmetic.operand);
    int32_t bad = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int32_t va = a[i], vb = b[i];
        int32_t quotient = range.code(range.round((va >> 1) - (vb >> 1)), (va ^ vb) & 1);
        quotient = vb == range.zero ? 2 * range.max + (va & 1) : quotient;
        out[i] = va == range.zero ? range.zero : quotient;
        bad |= (va == range.zero) & (vb == range.zero);
    }
    return bad ? kZeroByZero : kOk;
}

// An integer that orders codes as their numbers are ordered.
inline int32_t key(int32_t v, int32_t zero) {
    const int32_t magnitude = (v >> 1) - (zero >> 1);
    return v & 1 ? -magnitude : magnitude;
}

template <typename Compare>
void compare(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict b, int64_t n,
             int32_t* __restrict out, Compare holds) {
    const int32_t zero = arithmetic.operand.zero_code();
    for (int64_t i = 0; i < n; ++i) out[i] = holds(key(a[i], zero), key(b[i], zero)) ? 1 : 0;
}

template <bool larger>
void extreme(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict b, int64_t n,
             int32_t* __restrict out) {
    const int32_t zero = arithmetic.operand.zero_code();
    for (int64_t i = 0; i < n; ++i) {
        const bool a_larger = key(a[i], zero) >= key(b[i], zero);
        out[i] = a_larger == larger ? a[i] : b[i];
    }
}

int32_t root(const Arithmetic& arithmetic, const int32_t* __restrict a, int64_t n, int32_t* __restrict out,
             bool inverse) {
    const Range range(arithmetic.operand);
    const int32_t of_zero = inverse ? 2 * range.max : range.zero;
    int32_t negative = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int32_t half = a[i] >> 2;  // v = 2 L + s, so this is floor(L / 2)
        const int32_t result = range.code(range.round(inverse ? -half : half), 0);
        out[i] = a[i] == range.zero ? of_zero : result;
        negative |= a[i] & 1;
    }
    return negative ? kRootOfNegative : kOk;
}

void unary(const Arithmetic& arithmetic, Op op, const int32_t* __restrict a, int64_t n, int32_t* __restrict out) {
    const int32_t zero = arithmetic.operand.zero_code();
    const int32_t largest = 2 * arithmetic.operand.max_log();
    switch (op) {
        case Op::neg:
            for (int64_t i = 0; i < n; ++i) out[i] = a[i] == zero ? zero : a[i] ^ 1;
            break;
        case Op::abs:
            for (int64_t i = 0; i < n; ++i) out[i] = a[i] & ~1;
            break;
        case Op::reciprocal:
            for (int64_t i = 0; i < n; ++i) out[i] = a[i] == zero ? largest : -(a[i] & ~1) | (a[i] & 1);
            break;
        default:  // is_zero
            for (int64_t i = 0; i < n; ++i) out[i] = a[i] == zero ? 1 : 0;
    }
}

int32_t lookup(const Arithmetic& arithmetic, const int32_t* __restrict a, const int32_t* __restrict table, int64_t n,
               int32_t* __restrict out) {
    const int32_t zero = arithmetic.operand.zero_code();
    int32_t undefined = 0;
    for (int64_t i = 0; i < n; ++i) {
        out[i] = table[a[i] - zero];
        undefined |= out[i] == kUndefined;
    }
    return undefined ? kNaN : kOk;
}

int32_t apply(const Arithmetic& arithmetic, Op op, const int32_t* a, const int32_t* b, const int32_t* c,
              const int32_t* table, int64_t n, int32_t* out) {
    switch (op) {
        case Op::add: add(arithmetic, a, b, n, out, 0); break;
        case Op::sub: add(arithmetic, a, b, n, out, 1); break;
        case Op::mul: multiply(arithmetic, a, b, n, out); break;
        case Op::div: return divide(arithmetic, a, b, n, out);
        case Op::max: extreme<true>(arithmetic, a, b, n, out); break;
        case Op::min: extreme<false>(arithmetic, a, b, n, out); break;
        case Op::sqrt: return root(arithmetic, a, n, out, false);
        case Op::rsqrt: return root(arithmetic, a, n, out, true);
        case Op::lookup: return lookup(arithmetic, a, table, n, out);
        case Op::select:
            for (int64_t i = 0; i < n; ++i) out[i] = a[i] ? b[i] : c[i];
            break;
        case Op::gt: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x > y; }); break;
        case Op::ge: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x >= y; }); break;
        case Op::lt: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x < y; }); break;
        case Op::le: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x <= y; }); break;
        case Op::eq: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x == y; }); break;
        case Op::ne: compare(arithmetic, a, b, n, out, [](int32_t x, int32_t y) { return x != y; }); break;
        default: unary(arithmetic, op, a, n, out);
    }
    return kOk;
}

}  // namespace

extern const ElementwiseKernels kElementwise;
const ElementwiseKernels kElementwise{encode32, encode16, encode_double, decode32, apply};

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
