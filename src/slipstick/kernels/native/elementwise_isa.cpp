// Elementwise kernels, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
// Carriers to codes and back, with tables in registers where they fit; operations are in code_operations.h.
#include "elementwise.h"

#include <cstring>

#include "carrier_lanes.h"
#include "code_operations.h"
#if defined(SLIPSTICK_ISA_avx2)
#include "carrier_shuffles_avx2.h"
#endif
#if !defined(SLIPSTICK_ISA_portable)
#include "sum_bytes.h"
#endif

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

#if !defined(SLIPSTICK_ISA_portable)

template <bool flush, typename Code>
bool encode_vectors(const Arithmetic& arithmetic, const RegisterTable& table, const float* x, int64_t n, Code* v) {
    if (table.log2_size == 5) return encode_lanes<5, flush>(arithmetic, table, x, n, v);
    if (table.log2_size == 6) return encode_lanes<6, flush>(arithmetic, table, x, n, v);
    return encode_lanes<Lanes::kMaxTableLog2, flush>(arithmetic, table, x, n, v);
}

template <bool stream, typename Code>
void decode_vectors(const Arithmetic& arithmetic, const RegisterTable& table, const Code* v, int64_t n, float* x) {
    if (table.log2_size == 5) return decode_lanes<5, stream>(arithmetic.operand, table, v, n, x);
    if (table.log2_size == 6) return decode_lanes<6, stream>(arithmetic.operand, table, v, n, x);
    decode_lanes<Lanes::kMaxTableLog2, stream>(arithmetic.operand, table, v, n, x);
}

#endif

// Whole vectors with the table in registers where it fits; the rest one by one.
template <typename Code>
int32_t encode(const Arithmetic& arithmetic, const float* x, int64_t n, Code* v) {
    int64_t done = 0;
    int32_t status = kOk;
#if !defined(SLIPSTICK_ISA_portable)
    const RegisterTable table(arithmetic.encode_float.offsets);
    if (n >= 4 * Lanes::kCount && table.fits()) {
        done = n - n % Lanes::kCount;
        const auto run = arithmetic.operand.flush ? encode_vectors<true, Code> : encode_vectors<false, Code>;
        if (!run(arithmetic, table, x, done, v)) status = kNaN;
    }
#endif
    return status | encode_each(arithmetic, x + done, n - done, v + done);
}

int32_t encode32(const Arithmetic& arithmetic, const float* x, int64_t n, int32_t* v) {
    return encode(arithmetic, x, n, v);
}

#if defined(SLIPSTICK_ISA_avx2)

int32_t encode16(const Arithmetic& arithmetic, const float* x, int64_t n, int16_t* v) {
    if (!arithmetic.carrier_bytes.encodes) return encode(arithmetic, x, n, v);
    const auto run = arithmetic.operand.flush ? encode_shuffled<true> : encode_shuffled<false>;
    const int64_t whole = n - n % kShuffled;
    bool numbers = run(arithmetic, x, whole, v);
    if (whole != n) {
        float rest[kShuffled] = {};
        int16_t codes[kShuffled];
        std::memcpy(rest, x + whole, (n - whole) * sizeof *x);
        numbers &= run(arithmetic, rest, kShuffled, codes);
        std::memcpy(v + whole, codes, (n - whole) * sizeof *v);
    }
    return numbers ? kOk : kNaN;
}

#else

int32_t encode16(const Arithmetic& arithmetic, const float* x, int64_t n, int16_t* v) {
    return encode(arithmetic, x, n, v);
}

#endif

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

template <typename Code>
void decode_each(const Arithmetic& arithmetic, const Code* __restrict v, int64_t n, float* __restrict x) {
    const int frac = arithmetic.operand.frac_bits;
    const int32_t mask = (1 << frac) - 1, zero = arithmetic.operand.zero_code();
    const int32_t* __restrict mantissas = arithmetic.decode.data();
    for (int64_t i = 0; i < n; ++i) {
        const int32_t code = v[i], log = code >> 1;
        uint32_t bits = static_cast<uint32_t>((log >> frac) + kFloatBias) << 23;
        bits |= static_cast<uint32_t>(mantissas[log & mask]) | static_cast<uint32_t>(code) << 31;
        bits = code == zero ? 0u : bits;
        std::memcpy(x + i, &bits, 4);
    }
}

template <typename Code>
void decode(const Arithmetic& arithmetic, const Code* v, int64_t n, float* x, [[maybe_unused]] bool stream = false) {
    int64_t done = 0;
#if !defined(SLIPSTICK_ISA_portable)
    const RegisterTable table(arithmetic.decode);
    if (n >= 4 * Lanes::kCount && table.fits()) {
        done = n - n % Lanes::kCount;
        (stream ? decode_vectors<true, Code> : decode_vectors<false, Code>)(arithmetic, table, v, done, x);
    }
#endif
    decode_each(arithmetic, v + done, n - done, x + done);
}

void decode32(const Arithmetic& arithmetic, const int32_t* v, int64_t n, float* x) { decode(arithmetic, v, n, x); }

#if defined(SLIPSTICK_ISA_avx2)

void decode16(const Arithmetic& arithmetic, const int16_t* v, int64_t n, float* x, bool stream) {
    if (!arithmetic.carrier_bytes.decodes) return decode(arithmetic, v, n, x, stream);
    const int64_t whole = n - n % kShuffled;
    const auto run = stream ? decode_shuffled<true> : decode_shuffled<false>;
    run(arithmetic, v, whole, x);
    if (whole != n) {
        int16_t codes[kShuffled] = {};
        float rest[kShuffled];
        std::memcpy(codes, v + whole, (n - whole) * sizeof *v);
        decode_shuffled<false>(arithmetic, codes, kShuffled, rest);
        std::memcpy(x + whole, rest, (n - whole) * sizeof *x);
    }
}

#elif defined(SLIPSTICK_ISA_avx512)

void decode16(const Arithmetic& arithmetic, const int16_t* v, int64_t n, float* x, bool stream) {
    decode(arithmetic, v, n, x, stream);
}

#endif

template <typename L, bool negate>
void add(const Arithmetic& arithmetic, const typename L::Code* a, const typename L::Code* b, int64_t n,
         typename L::Code* out) {
#if !defined(SLIPSTICK_ISA_portable)
    if constexpr (sizeof(typename L::Code) == 2) {
        const BytePlan& plan = sum_plan(*arithmetic.gemm_plan);
        if (const SumKernel* kernel = sum_kernel_of(plan))
            return (negate ? kernel->subtract : kernel->add)(arithmetic, plan, a, b, n, out);
    }
#endif
    add_gathered<L, negate>(arithmetic, a, b, n, out);
}

}  // namespace

extern const ElementwiseKernels kElementwise;
#if defined(SLIPSTICK_ISA_portable)
const ElementwiseKernels kElementwise{encode32, encode16, encode_double, decode32, nullptr,
                                      apply<Codes<int32_t>>, nullptr};
#else
const ElementwiseKernels kElementwise{encode32, encode16, encode_double, decode32, decode16,
                                      apply<Codes<int32_t>>, apply<Codes<int16_t>>};
#endif

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
