// Elementwise kernels: float carriers to codes, operations on codes, codes to float carriers.
#pragma once

#include <cstdint>

#include "arithmetic.h"

namespace slipstick {

// What went wrong in a run of numbers; bits of a status word.
enum Status : int32_t { kOk = 0, kNaN = 1, kZeroByZero = 2, kRootOfNegative = 4 };

enum class Op : int32_t {
    add, sub, mul, div, max, min,            // two operands
    neg, abs, sqrt, rsqrt, reciprocal,       // one operand
    lookup,                                  // one operand and a table over all codes
    select,                                  // mask, then, else
    gt, ge, lt, le, eq, ne,                  // two operands, give a mask (0 or 1)
    is_zero,                                 // one operand, gives a mask
    kCount
};

// Entry of a lookup table where the function has no value, such as the logarithm of a negative number.
constexpr int32_t kUndefined = INT32_MIN;

// Function pointers of one instruction set. All take contiguous runs of any length n >= 0 and return Status bits.
// Codes of 16 bits are for arithmetics that are `narrow()`, encode16 for any operand of width <= 16; decode16 and apply16
// are null where an instruction set has nothing to gain by them.
struct ElementwiseKernels {
    int32_t (*encode32)(const Arithmetic&, const float* x, int64_t n, int32_t* v);
    int32_t (*encode16)(const Arithmetic&, const float* x, int64_t n, int16_t* v);
    int32_t (*encode_double)(const Arithmetic&, const double* x, int64_t n, int32_t* v);
    void (*decode32)(const Arithmetic&, const int32_t* v, int64_t n, float* x);
    // stream: x lies at a multiple of kStreamAlign bytes and is written past the caches; a store fence must follow.
    void (*decode16)(const Arithmetic&, const int16_t* v, int64_t n, float* x, bool stream);
    // out = op(a, b, c) on codes of the operand format; `table` belongs to Op::lookup, indexed by v - zero_code.
    int32_t (*apply32)(const Arithmetic&, Op op, const int32_t* a, const int32_t* b, const int32_t* c,
                       const int32_t* table, int64_t n, int32_t* out);
    int32_t (*apply16)(const Arithmetic&, Op op, const int16_t* a, const int16_t* b, const int16_t* c,
                       const int32_t* table, int64_t n, int16_t* out);
};

constexpr int kStreamAlign = 64;

const ElementwiseKernels& elementwise_kernels();  // of current_isa()

}  // namespace slipstick
