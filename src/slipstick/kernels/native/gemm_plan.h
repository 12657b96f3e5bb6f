// Which kernel reproduces an arithmetic's sums exactly, and the constants that it runs with.
#pragma once

#include <cstdint>
#include <vector>

#include "arithmetic.h"

namespace slipstick {

// Codes of the generic kernels: v = 2 L + s in the accumulator's units; everything below `dead` stands for zero.
struct GenericPlan {
    std::vector<int32_t> table;  // table[2 d + opposite] = 2 D, or -drop where the sum is zero
    int32_t last = 0;            // index of the last entry; it and the one before are 0
    int32_t zero = 0, dead = 0;
    int32_t high = 0, low = 0;       // 2 MAX and -2 MAX of the accumulator
    int64_t unchecked_terms = 0;     // up to how many terms the unchecked kernel is exact
};

// How a term becomes an accumulator value and a sum an operand.
struct Conversion {
    int32_t shift = 0;      // fraction bits that the accumulator has beyond the operand
    int32_t zero_code = 0;  // of the operand
    int32_t max_log = 0, low_log = 0, zero_log = 0;  // of the operand; low: what a log below -max becomes
    bool flush = false;     // of the accumulator
};

class GemmPlan {
public:
    explicit GemmPlan(const Arithmetic& arithmetic);

    Conversion conversion;
    GenericPlan generic;
    Order order;
};

}  // namespace slipstick
