// The elementwise kernels by the number of bits that codes are kept in. Included by the drivers.
#pragma once

#include "elementwise.h"

namespace slipstick {

namespace {

constexpr int64_t kRegisterBytes = 2048;  // a dozen registers stay in L1

// The kernels that keep codes in so many bits.
template <typename Code>
struct Kernels;

template <>
struct Kernels<int32_t> {
    static constexpr int64_t kChunk = kRegisterBytes / sizeof(int32_t);  // codes of a register

    const ElementwiseKernels& of;
    const Arithmetic& arithmetic;

    int32_t encode(const float* x, int64_t n, int32_t* v) const { return of.encode32(arithmetic, x, n, v); }
    int32_t encode(const double* x, int64_t n, int32_t* v) const { return of.encode_double(arithmetic, x, n, v); }
    void decode(const int32_t* v, int64_t n, float* x, bool) const { of.decode32(arithmetic, v, n, x); }
    int32_t apply(Op op, const int32_t* a, const int32_t* b, const int32_t* c, const int32_t* table, int64_t n,
                  int32_t* out) const {
        return of.apply32(arithmetic, op, a, b, c, table, n, out);
    }
};

template <>
struct Kernels<int16_t> {
    static constexpr int64_t kChunk = kRegisterBytes / sizeof(int16_t);

    const ElementwiseKernels& of;
    const Arithmetic& arithmetic;

    int32_t encode(const float* x, int64_t n, int16_t* v) const { return of.encode16(arithmetic, x, n, v); }
    int32_t encode(const double* x, int64_t n, int16_t* v) const {
        int32_t wide[kChunk];
        const int32_t status = of.encode_double(arithmetic, x, n, wide);
        for (int64_t i = 0; i < n; ++i) v[i] = static_cast<int16_t>(wide[i]);
        return status;
    }
    void decode(const int16_t* v, int64_t n, float* x, bool stream) const { of.decode16(arithmetic, v, n, x, stream); }
    int32_t apply(Op op, const int16_t* a, const int16_t* b, const int16_t* c, const int32_t* table, int64_t n,
                  int16_t* out) const {
        return of.apply16(arithmetic, op, a, b, c, table, n, out);
    }
};

// Whether codes of 16 bits serve the arithmetic, on the instruction set in use.
inline bool has_narrow_kernels(const Arithmetic& arithmetic) {
    return elementwise_kernels().apply16 && arithmetic.narrow();
}

}  // namespace

}  // namespace slipstick
