// One arithmetic as plain tables: what Python computed from the specification, and nothing that depends on the machine.
//
// Inside the kernels a number is the integer  v = 2 L + s  (s = 1 for negative); zero is L = -(MAX + 1), s = 0, that is
// v = zero_code(). Formats of up to 16 bits fit int16, wider ones int32. The public W-bit pattern is made in Python only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "carrier_bytes.h"

namespace slipstick {

struct Format {
    int int_bits = 0;
    int frac_bits = 0;
    bool flush = false;  // a magnitude below the smallest becomes zero instead of the smallest

    int32_t max_log() const { return (int32_t{1} << (int_bits + frac_bits)) - 1; }
    int32_t zero_log() const { return -max_log() - 1; }
    int32_t zero_code() const { return 2 * zero_log(); }
    int width() const { return 2 + int_bits + frac_bits; }
};

// L + (bias << F) = (magnitude_bits + offsets[(magnitude_bits >> bucket_shift) & (size - 1)]) >> (mantissa_bits - F).
// Correctly rounded; where the arithmetic sits inside a finer update format, rounded to that first and then narrowed.
template <typename Int>
struct EncodeTable {
    std::vector<Int> offsets;
    int bucket_shift = 0;
};

// Entries of the smallest table that is looked up in registers; shorter ones are repeated.
constexpr size_t kSmallestTable = 32;

// D+[0..n], D-[0..n]; both are 0 at n and beyond. kCancel in D- means that the sum is zero. D-[0] is kCancel.
constexpr int32_t kCancel = -(1 << 30);
constexpr int16_t kNarrowCancel = INT16_MIN;

struct AdderTables {
    std::vector<int32_t> plus, minus;
    std::vector<int32_t> joint;  // joint[2 d + opposite]: both tables interleaved
    std::vector<int16_t> narrow;  // the same in 16 bits, kNarrowCancel for kCancel; empty where |2 D| does not fit

    int32_t n() const { return static_cast<int32_t>(plus.size()) - 1; }
};

enum class OrderKind { sequential = 0, tree = 1, blocked = 2 };

struct Order {
    OrderKind kind = OrderKind::tree;
    int size = 16;  // the tree's radix, or the block's length; block sums are added by a tree of radix 16
};

class GemmPlan;  // gemm.cpp: which fast path reproduces the accumulator's tables

struct Arithmetic {
    Format operand;
    EncodeTable<int32_t> encode_float;
    EncodeTable<int64_t> encode_double;
    std::vector<int32_t> decode;  // mantissa bits of 2^(k / 2^F) in float32
    AdderTables adder;
    Format accumulator;
    AdderTables accumulator_adder;
    Order order;
    CarrierBytes carrier_bytes;
    std::shared_ptr<const GemmPlan> gemm_plan;

    // Whether chains may keep codes in 16 bits.
    bool narrow() const { return operand.width() <= 16 && !adder.narrow.empty(); }
};

// Defined in gemm.cpp, called once when an Arithmetic is made from Python.
std::shared_ptr<const GemmPlan> make_gemm_plan(const Arithmetic& arithmetic);

}  // namespace slipstick
