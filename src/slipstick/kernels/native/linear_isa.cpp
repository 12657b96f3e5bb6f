// Kernels of LinearAccumulate, compiled once per instruction set (SLIPSTICK_ISA names the namespace).
#include <algorithm>

#include "linear_integers.h"

#if !defined(SLIPSTICK_ISA_portable)
#include "linear_floats.h"
#endif

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

template <bool kSaturate>
void by_integers(const LinearBlock& block, int row, int rows, int column, int columns) {
    const IntegerSums<kSaturate> sums{block};
    for (int r = row; r < row + rows; ++r)
        for (int c = column; c < column + columns; c += kLinearUnit)
            sums.run(r, c, std::min(kLinearUnit, column + columns - c), block.out + int64_t{r} * block.out_stride + c);
}

void by_integers(const LinearBlock& block, int row, int rows, int column, int columns) {
    rows = std::min(rows, block.rows - row);
    columns = std::min(columns, block.columns - column);
    if (block.plan->saturate)
        by_integers<true>(block, row, rows, column, columns);
    else
        by_integers<false>(block, row, rows, column, columns);
}

// "wrap": the sums modulo 2^bits, as two's complement.
void wrap(const LinearBlock& block) {
    const int unused = 32 - block.plan->bits;
    for (int row = 0; row < block.rows; ++row) {
        int32_t* out = block.out + int64_t{row} * block.out_stride;
        for (int j = 0; j < block.columns; ++j)
            out[j] = static_cast<int32_t>(static_cast<uint32_t>(out[j]) << unused) >> unused;
    }
}

#if defined(SLIPSTICK_ISA_portable)

size_t workspace_bytes(const LinearBlock&) { return 0; }

void run(const LinearBlock& block) {
    by_integers(block, 0, block.rows, 0, block.columns);
    if (!block.plan->saturate) wrap(block);
}

#else

size_t workspace_bytes(const LinearBlock& block) {
    return std::max(FloatSums<false>::workspace_bytes(block), FloatSums<true>::workspace_bytes(block));
}

template <bool kVersions>
void by_floats(const LinearBlock& block) {
    using Sums = FloatSums<kVersions>;
    const int64_t length = Sums::chunk_length(*block.plan);
    if (length == 0) return by_integers(block, 0, block.rows, 0, block.columns);
    Sums sums(block, length);
    sums.run();
    for (int row = 0; row < block.rows; row += Sums::kRows)
        for (int column = 0; column < block.columns; column += Sums::kColumns)
            if (sums.early(row, column)) by_integers(block, row, Sums::kRows, column, Sums::kColumns);
}

void run(const LinearBlock& block) {
    if (block.plan->versions > 1)
        by_floats<true>(block);
    else
        by_floats<false>(block);
    if (!block.plan->saturate) wrap(block);
}

#endif

}  // namespace

extern const LinearKernels kLinear;
const LinearKernels kLinear = {&workspace_bytes, &run};

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
