// Which kernel reproduces an arithmetic's sums exactly, and the constants that it runs with.
#pragma once

#include <cstdint>
#include <vector>

#include "arithmetic.h"

namespace slipstick {

// An adder that is constant on 32 cells of d per sign: cell = (d + phase) >> shift. Looked up in codes of the generic
// kernels (gemm_wide_steps_avx512.h): entries[cell, signs differ] = 2 D + offset.
struct WideSteps {
    bool exact = false;
    int shift = 0, phase = 0;
    int32_t offset = 0;
    int32_t cancelled = 0;  // where signs differ and 2 d is less than this, the sum is zero
    alignas(64) uint16_t entries[64] = {};
};

// Codes of the generic kernels: v = 2 L + s in the accumulator's units; everything below `dead` stands for zero.
struct GenericPlan {
    std::vector<int32_t> table;  // table[2 d + opposite] = 2 D, or -drop where the sum is zero
    std::vector<int16_t> narrow;  // 2 D, or kNarrowCancel where the sum is zero; empty where 2 D does not fit
    int32_t last = 0;            // index of the last entry; it and the one before are 0
    int32_t zero = 0, dead = 0;
    int32_t high = 0, low = 0;    // 2 MAX and -2 MAX of the accumulator
    int64_t unchecked_terms = 0;     // up to how many terms the unchecked kernel is exact
    WideSteps steps;
};

// How a term becomes an accumulator value and a sum an operand.
struct Conversion {
    int32_t shift = 0;      // fraction bits that the accumulator has beyond the operand
    int32_t zero_code = 0;  // of the operand
    int32_t max_log = 0, low_log = 0, zero_log = 0;  // of the operand; low: what a log below -max becomes
    bool flush = false;     // of the accumulator
};

// How a byte-class kernel turns a difference d into an index of its tables. `fine` and `coarse` are d and d >> shift,
// saturated to 8 bits (to 7 where classes have fewer than 8); the class is min(fine, coarse + offset, top).
// near: both are of min(d, 255), and no class reaches beyond the top.
struct ByteClasses {
    int bits = 0;  // 6, 7 or 8: of a class; 0: no classes reproduce the adder
    int shift = 0;  // 0: no coarse part
    int offset = 0;
    int top = 0;
    bool near = false;

    int index(int64_t d) const;
};

// How the step kernels look up (gemm_steps_avx2.h): a table is the exclusive or of slices of 16 entries, `coarse` ones
// taken by d >> shift and, where d is small, `plus` or `minus` ones taken by d.
struct StepSlices {
    int shift = 0, coarse = 0;  // shift 0: no coarse slices
    bool wide = false;          // d = 255 and d > 255 differ
    int plus = 0, minus = 0;
};

constexpr int kSlice = 16, kSlices = 16, kTableLane = 64;

// How logs keep within int16. plain, saturating: no sum leaves the format except in merges that look; saturating: logs
// that stand for zero reach the end of int16, so products and sums need saturating instructions. rounded: every product
// and sum is rounded to the format. floor: logs are not negative, and one that stands for zero cannot sink below 0.
enum class ByteMode { plain, saturating, rounded, floor };

// Logs in int16, signs in bytes, the adder's tables as bytes indexed by class. Tables hold bias - D >= 0, so that every
// addition lowers a sum by `bias`; `settle` puts it back.
struct BytePlan {
    ByteClasses classes;
    StepSlices steps;
    ByteMode mode = ByteMode::plain;
    int32_t bias = 0;
    int32_t row_zero = 0, column_zero = 0, row_offset = 0, column_offset = 0;
    int32_t offset = 0;  // sum of both: what an accumulated log exceeds its value by
    int32_t dead = 0;    // logs up to here stand for zero
    int32_t zero = 0, low = 0, high = 0;
    int64_t terms = 0;    // up to how many terms the kernel is exact
    int free_levels = 0;  // of a tree whose sums cannot fall below the accumulator's format
    // By class; `second` is the high byte of D-'s entries, 0 beyond its first 16.
    uint8_t plus[256] = {}, minus[256] = {}, second[kSlice] = {};
    // For 16-byte shuffles: slice i xor slice i + 1 of the same half, repeated in every 16-byte lane.
    alignas(64) uint8_t plus_slices[kSlices][kTableLane] = {}, minus_slices[kSlices][kTableLane] = {};
    alignas(64) uint8_t second_slice[kTableLane] = {};
    alignas(64) uint8_t slice_steps[kSlices / 2][kTableLane] = {};  // what makes bit 7 say "beyond slice i"

    int slices() const { return classes.top / kSlice + 1; }
};

constexpr int kPieces = 16;  // of a table that a line kernel holds

// Words that line kernels read from memory.
enum LineConstant { kLast, kBias, kCancelled, kRoot, kDiffer, kFirst, kSecond, kLowByte, kLineConstants };

// Tables of line kernels (gemm_lines.h), of 16 bytes, repeated: words by (signs differ, first two comparisons), bytes
// by these and the third one. pieces: low and high byte of the factor and of the offset, by the fourth comparison.
struct LineTables {
    bool exact = false;  // they reproduce the adder
    alignas(64) int16_t constants[kLineConstants][kTableLane / 2] = {};
    alignas(64) uint8_t thresholds[5][kTableLane] = {}, scales[kTableLane] = {};
    alignas(64) uint8_t pieces[4][2][kTableLane] = {};
};

constexpr int kPieceShift = 10;  // of cell kernels: the bits below a piece's number

// Tables of cell kernels (gemm_cells_avx512.h). starts of cells, as low and high bytes: 64 where signs agree, then, in
// reverse, 64 where they differ. Lines by piece.
struct CellTables {
    bool exact = false;  // they reproduce the adder
    int32_t end = 0;
    int fine = 0, coarse = 0, near = 0, distant = 0, key_shift = 0;
    alignas(64) uint8_t low[128] = {}, high[128] = {};
    alignas(64) uint16_t offsets[64] = {}, factors[64] = {};
};

constexpr int kUnsignedPeriod = 4;  // additions after which kernels of unsigned logs put back the bias

// Logs in unsigned 16 bits, zero is 0 (gemm_unsigned.h).
struct UnsignedPlan {
    int64_t terms = 0;  // up to how many terms the kernels are exact
    int32_t bias = 0, row_offset = 0, column_offset = 0;
    int32_t offset = 0;  // what an accumulated log exceeds its value by
    int32_t low = 0;     // the accumulator's smallest log, with its offset
    int32_t last = 0;    // D is zero beyond
    int free_levels = 0;
    bool far = false;             // differences may exceed 32767
    std::vector<uint16_t> table;  // table[2 d + opposite] = bias - D, or 65535 where the sum is zero
    LineTables lines;
    CellTables cells;
};

class GemmPlan {
public:
    explicit GemmPlan(const Arithmetic& arithmetic);

    Conversion conversion;
    GenericPlan generic;
    // With classes for AVX2's shuffles and for AVX-512's permutations: without rounding at every step, and with.
    BytePlan shuffle, shuffle_rounded, permute, permute_rounded;
    BytePlan shuffle_sums, permute_sums;  // classes and tables alone: sums of two operands
    BytePlan steps;  // for AVX2: the cheaper way where tables end early, are steps far out, and fit into bytes
    UnsignedPlan unsigned16;
    Order order;
};

}  // namespace slipstick
