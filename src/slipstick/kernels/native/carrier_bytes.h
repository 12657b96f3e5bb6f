// Encoding and decoding by byte shuffles: tables of at most 32 entries, cut into bytes, so that one shuffle looks up 32.
//
// The upper half of a float holds sign, exponent and seven bits of mantissa. From these seven, m, a parabola gives
//     k = ((m (factor - m) + offset) scale) >> 16,
// and the fraction of the log is k or, from the k-th threshold on, k + 1. Tables and parabola are made from an
// EncodeTable and checked against it for every mantissa; where there is no such parabola, `encodes` is false.
#pragma once

#include <cstdint>

namespace slipstick {

struct Arithmetic;

constexpr int kByteTableLog2 = 5;

struct CarrierBytes {
    using Table = uint8_t[2][32];  // entries 0 to 15 and 16 to 31, each in both 16-byte lanes

    bool encodes = false, decodes = false;
    uint16_t factor = 0, offset = 0, scale = 0;
    alignas(32) Table thresholds[3] = {};  // low, middle and high byte of mantissas
    alignas(32) Table mantissas[3] = {};
};

CarrierBytes make_carrier_bytes(const Arithmetic& arithmetic);

}  // namespace slipstick
