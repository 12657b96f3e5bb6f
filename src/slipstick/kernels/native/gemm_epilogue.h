// What becomes of a block of sums, rounded to the operand format: a bias is added, and floats are written. Included by
// gemm.cpp only.
#pragma once

#include <algorithm>

#include "code_kernels.h"
#include "gemm.h"

namespace slipstick {

namespace {

// Codes that are added to sums: to that of a row and a column the one at row * row_step + column * column_step.
struct BlockBias {
    const int32_t* codes = nullptr;  // null: nothing is added
    int64_t row_step = 0, column_step = 0;
};

// Where a block's numbers go: out[rows[i] + columns[j]].
struct BlockPlace {
    float* out;
    const int64_t *rows, *columns;
};

// Rows of a block of so many columns, as codes of one kind to their places as floats.
template <typename Code>
class RowWriter {
public:
    RowWriter(const Arithmetic& arithmetic, int columns, const BlockPlace& place)
        : kernels_{elementwise_kernels(), arithmetic}, columns_(columns), place_(place),
          together_(place.columns[columns - 1] - place.columns[0] == columns - 1) {}

    void write(int row, const Code* codes) {
        float* to = place_.out + place_.rows[row];
        if (together_) return kernels_.decode(codes, columns_, to + place_.columns[0], false);
        float numbers[kBlockColumns];
        kernels_.decode(codes, columns_, numbers, false);
        for (int j = 0; j < columns_; ++j) to[place_.columns[j]] = numbers[j];
    }

private:
    const Kernels<Code> kernels_;
    const int columns_;
    const BlockPlace place_;
    const bool together_;
};

// Adds the bias to as many rows at a time as the registers of chains hold.
template <typename Code>
void write_biased(const Arithmetic& arithmetic, const GemmBlock& block, const BlockBias& bias,
                  const BlockPlace& place) {
    constexpr int64_t kHeld = Kernels<Code>::kChunk;
    static_assert(kHeld >= kBlockColumns);
    alignas(64) Code sums[kHeld], addends[kHeld];
    const Kernels<Code> kernels{elementwise_kernels(), arithmetic};
    RowWriter<Code> writer(arithmetic, block.columns, place);
    const int columns = block.columns, together = std::min(static_cast<int>(kHeld / columns), block.rows);
    const auto narrow = [](int32_t code) { return static_cast<Code>(code); };
    for (int first = 0; first < block.rows; first += together) {
        const int rows = std::min(together, block.rows - first);
        for (int i = 0; i < rows; ++i) {
            const int32_t* codes = block.out + int64_t{first + i} * block.out_stride;
            std::transform(codes, codes + columns, sums + i * columns, narrow);
            if (first > 0 && bias.row_step == 0) continue;
            const int32_t* from = bias.codes + (first + i) * bias.row_step;
            for (int j = 0; j < columns; ++j) addends[i * columns + j] = narrow(from[j * bias.column_step]);
        }
        kernels.apply(Op::add, sums, addends, addends, nullptr, int64_t{rows} * columns, sums);
        for (int i = 0; i < rows; ++i) writer.write(first + i, sums + i * columns);
    }
}

void write_block(const Arithmetic& arithmetic, const GemmBlock& block, const BlockBias& bias, const BlockPlace& place) {
    if (bias.codes && has_narrow_kernels(arithmetic)) return write_biased<int16_t>(arithmetic, block, bias, place);
    if (bias.codes) return write_biased<int32_t>(arithmetic, block, bias, place);
    RowWriter<int32_t> writer(arithmetic, block.columns, place);
    for (int row = 0; row < block.rows; ++row) writer.write(row, block.out + int64_t{row} * block.out_stride);
}

}  // namespace

}  // namespace slipstick
