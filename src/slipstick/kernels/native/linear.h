// Sums of products of logarithms in an integer accumulator: the semantics are in arithmetic/linear_accumulate.py.
//
// Operands are signed logs: 0 is zero, +-(x + 1) a number with the logarithm x = 0 .. largest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace slipstick {

// Every table as Python computed and verified it.
struct LinearPlan {
    int32_t largest;             // logarithm of an operand
    int bits;                    // of the accumulator
    bool saturate;
    std::vector<int32_t> terms;  // t[p], p = 0 .. 2 largest; then zeros up to 2 zero()
    int32_t largest_term;
    // The float path: the product left[xa] right[version of xa][xb], rounded to the nearest integer, is t[xa + xb] for
    // every pair of logarithms, and never a tie. right[v][x] = remainders[v][x mod 2^fraction] 2^(x div 2^fraction). The
    // version of xa is xa mod 2^fraction, or 0 where there is one version. No versions: no float path.
    int fraction, versions;
    std::vector<float> left;  // of signed logs from -(largest + 1) to largest + 1
    std::vector<float> remainders;

    // A log that stands for zero: with any other it is beyond all terms.
    int32_t zero() const { return 2 * largest + 1; }
    int32_t top() const { return static_cast<int32_t>((int64_t{1} << (bits - 1)) - 1); }
};

struct LinearBlock {
    const LinearPlan* plan = nullptr;
    const int16_t *a = nullptr, *b = nullptr;
    const int64_t *a_rows = nullptr, *a_terms = nullptr;     // offsets into a
    const int64_t *b_terms = nullptr, *b_columns = nullptr;  // offsets into b
    int rows = 0, columns = 0;
    int64_t terms = 0;
    int32_t* out = nullptr;  // rows (rounded up to kRowAlign) x out_stride
    int out_stride = 0;      // columns rounded up to kLinearColumnAlign
    char* workspace = nullptr;
};

constexpr int kLinearUnit = 16;  // columns that the integer path computes at once
constexpr int kLinearRowAlign = 12, kLinearColumnAlign = 192;  // multiples of every tile

struct LinearKernels {
    size_t (*workspace_bytes)(const LinearBlock&);
    void (*run)(const LinearBlock&);
};

const LinearKernels& linear_kernels();  // of current_isa()

}  // namespace slipstick
