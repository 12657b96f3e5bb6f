// A chain: several elementwise operations on codes, run chunk by chunk so that only its inputs and outputs touch memory.
#pragma once

#include <cstdint>
#include <vector>

#include "elementwise.h"

namespace slipstick {

enum class Kind : int32_t { float32 = 0, float64 = 1, boolean = 2, constant = 3, codes = 4 };

struct ChainStep {
    Op op;
    int32_t out, a, b, c;  // registers
    int32_t table;         // index into Chain::tables, for Op::lookup
};

// Registers 0 .. inputs-1 hold the inputs at the start of each chunk.
struct Program {
    int32_t inputs = 0, registers = 0;
    std::vector<ChainStep> steps;
    std::vector<int32_t> outputs;  // registers
    std::vector<bool> conditions;  // which inputs are masks
    std::vector<bool> masks;       // which outputs are
};

// A strided array; codes are int16, in the operand's format. A `constant` is the code of a host constant.
struct Array {
    Kind kind = Kind::float32;
    char* data = nullptr;
    int32_t constant = 0;
    std::vector<int64_t> strides;  // in elements, 0 where broadcast
};

struct Chain {
    const Arithmetic* arithmetic;
    const Program* program;
    std::vector<int64_t> shape;
    std::vector<Array> inputs, outputs;
    std::vector<const int32_t*> tables;
};

// Returns Status bits.
int32_t run_chain(Chain chain, int threads);

}  // namespace slipstick
