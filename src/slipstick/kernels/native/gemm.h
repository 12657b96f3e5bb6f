// Sums of products in log arithmetic: matrix products, convolutions, their gradients and reductions are all
//     C[row, column] = sum over k of A[row, k] * B[k, column]
// with separable offsets: an element of A lies at row_offset + k_offset. Batches and groups repeat it at other bases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arithmetic.h"
#include "gemm_plan.h"
#include "gemm_schedule.h"

namespace slipstick {

// What a kernel of one instruction set needs to know to compute one block of outputs.
struct GemmBlock {
    const GemmPlan* plan = nullptr;
    const Schedule* schedule = nullptr;
    const void *a = nullptr, *b = nullptr;  // operand codes: int16 where the format's width is at most 16, else int32
    bool wide_codes = false;
    const int64_t *a_rows = nullptr, *a_terms = nullptr;     // offsets into a
    const int64_t *b_terms = nullptr, *b_columns = nullptr;  // offsets into b
    int rows = 0, columns = 0;
    int32_t* out = nullptr;  // operand codes, rows x out_stride
    int out_stride = 0;      // columns rounded up to 64
    char* workspace = nullptr;
};

// One way of computing a block.
struct GemmPath {
    const char* name;
    size_t (*workspace_bytes)(const GemmBlock&);
    void (*run)(const GemmBlock&);
};

struct GemmKernels {
    GemmPath checked;    // any tables, saturation at every step
    GemmPath unchecked;  // any tables, where the plan proves that no step but a merge can leave the range
    const GemmPath* (*fast)(const GemmPlan&, int64_t terms);  // a byte-class path that is exact, or nullptr
};

const GemmKernels& gemm_kernels();  // of current_isa()

constexpr int kColumnAlign = 64;

// The largest blocks: small enough that their packed panels and partial sums stay in the second-level cache.
constexpr int64_t kBlockRows = 128, kBlockColumns = 128;

}  // namespace slipstick
