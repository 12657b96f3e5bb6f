// Byte tables of 64, 128 or 256 classes by permutations of 128 bytes.
#pragma once

#include "gemm.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

// Which part of a class is coarse: none, one of the difference, or one of its byte.
enum class Coarse { none, far, near };

inline Coarse coarse_of(const ByteClasses& c) {
    return c.shift == 0 ? Coarse::none : c.near ? Coarse::near : Coarse::far;
}

// Signs are bytes with bit 7, or with bits 7 and 6 where there are 64 classes: the exclusive or of the class with both
// signs then chooses between the tables, which for 64 classes are the two halves of one permutation.
template <int kBits, Coarse kCoarse>
struct PermuteLookup {
    using S = Words;
    using V = S::V;
    static constexpr int kSign = kBits == 6 ? 0xC0 : 0x80;

    struct Entry {
        V low, high;  // bytes of bias - D
    };

    V scale, shift, offset, top, plus[kBits == 8 ? 4 : 2], minus[kBits == 8 ? 4 : 2], high, none;

    explicit PermuteLookup(const BytePlan& p)
        : scale(S::all16(1 << (16 - (p.classes.shift ? p.classes.shift : 1)))), shift(S::byte_shift(p.classes.shift)),
          offset(S::all8(p.classes.offset)), top(S::all8(p.classes.top)), none(S::all8(0)) {
        for (int i = 0; i < (kBits == 8 ? 4 : 2); ++i) {
            plus[i] = S::load(p.plus + 64 * i);
            minus[i] = S::load(p.minus + 64 * i);
        }
        uint8_t bytes[64] = {};
        std::memcpy(bytes, p.second, sizeof p.second);
        high = S::load(bytes);
    }

    // first, second: u - v of both halves; z: the same packed with saturation; su, sv: signs.
    SLIPSTICK_INLINE Entry operator()(V first, V second, V z, V su, V sv) const {
        const V c = classes(first, second, z);
        if (kBits == 8) {
            const S::Mask opposite = S::negative8(S::bit_xor(su, sv)), upper = S::negative8(c);
            const V same = S::where8(upper, S::permute(plus[2], plus[3], c), S::permute(plus[0], plus[1], c));
            const V other = S::where8(upper, S::permute(minus[2], minus[3], c), S::permute(minus[0], minus[1], c));
            return {S::where8(opposite, other, same), S::where8_or_zero(opposite & ~upper, S::permute(high, none, c))};
        }
        const V index = S::bit_xor3(c, su, sv);
        if (kBits == 6)  // bit 6 says "opposite" too
            return {S::permute(plus[0], minus[0], index), S::permute(none, high, index)};
        const S::Mask opposite = S::negative8(index);
        return {S::where8(opposite, S::permute(minus[0], minus[1], index), S::permute(plus[0], plus[1], index)),
                S::where8_or_zero(opposite, S::permute(high, none, index))};
    }

    // The sign of u, or of v where z is negative. Only bit 7 of z says so.
    SLIPSTICK_INLINE static V sign(V z, V su, V sv) {
        return kBits == 6 ? S::where8(S::negative8(z), sv, su) : S::select(z, sv, su);
    }

private:
    // Signed saturation keeps coarse classes below 128, and with them their minimum.
    SLIPSTICK_INLINE V classes(V first, V second, V z) const {
        if (kCoarse != Coarse::none || kBits == 8) {
            first = S::abs16(first);
            second = S::abs16(second);
        }
        if (kCoarse == Coarse::near) {
            const V d = S::pack_unsigned(first, second);
            return S::min8(d, S::add8(S::shift_bytes(d, shift), offset));
        }
        V c = kBits == 8 ? S::pack_unsigned(first, second) : S::abs8(z);
        if (kCoarse == Coarse::far) {
            const V low = S::high_product16(first, scale), above = S::high_product16(second, scale);
            c = S::min8(c, kBits == 8 ? S::add8_saturating(S::pack_unsigned(low, above), offset)
                                      : S::add8_signed_saturating(S::pack(low, above), offset));
        }
        return kBits == 6 || (kBits == 7 && kCoarse == Coarse::none) ? S::min8(c, top) : c;
    }
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
