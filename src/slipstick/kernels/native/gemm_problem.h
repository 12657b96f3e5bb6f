// One contraction as Python hands it over, and its operands as codes. Included by gemm.cpp only.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "elementwise.h"
#include "gemm.h"
#include "operands.h"
#include "threads.h"

namespace slipstick {

namespace {

// The codes of an operand, int16 where the format's width allows it.
template <typename Code>
class Encoder {
public:
    Encoder(const Arithmetic& arithmetic, const Operand& operand, Code* codes)
        : arithmetic_(arithmetic), operand_(operand), codes_(codes) {}

    int32_t run(int threads) {
        if (operand_.kind == Operand::ones) {
            codes_[0] = 0;
            return kOk;
        }
        if (operand_.count() < operand_.total) fill(threads);
        const size_t last = operand_.sizes.size() - 1;
        const int64_t inner = operand_.sizes[last];
        int64_t outer = 1;
        for (size_t d = 0; d < last; ++d) outer *= operand_.sizes[d];
        const int64_t pieces = (inner + kPiece - 1) / kPiece;
        const int64_t grain = std::max<int64_t>(1, kPiece / std::max<int64_t>(inner, 1));
        std::atomic<int32_t> status{kOk};
        parallel_for((outer * pieces + grain - 1) / grain, threads, [&](int64_t task) {
            int32_t seen = kOk;
            const int64_t stop = std::min((task + 1) * grain, outer * pieces);
            for (int64_t i = task * grain; i < stop; ++i) {
                const int64_t first = i % pieces * kPiece;
                seen |= encode_run(i / pieces, first, std::min(kPiece, inner - first));
            }
            if (seen) status |= seen;
        });
        return status;
    }

private:
    static constexpr int64_t kPiece = 1 << 15, kStaged = 1024;

    void fill(int threads) {
        const Code zero = static_cast<Code>(arithmetic_.operand.zero_code());
        parallel_for((operand_.total + kPiece - 1) / kPiece, threads, [&](int64_t task) {
            std::fill(codes_ + task * kPiece, codes_ + std::min((task + 1) * kPiece, operand_.total), zero);
        });
    }

    int32_t encode_run(int64_t outer, int64_t first, int64_t count) {
        const size_t last = operand_.sizes.size() - 1;
        int64_t from = first * operand_.from[last], to = operand_.base + first * operand_.to[last];
        for (size_t d = last; d-- > 0;) {
            const int64_t index = outer % operand_.sizes[d];
            outer /= operand_.sizes[d];
            from += index * operand_.from[d];
            to += index * operand_.to[d];
        }
        const int64_t from_step = operand_.from[last], to_step = operand_.to[last];
        if (operand_.kind == Operand::float32 && from_step == 1 && to_step == 1)
            return encode(static_cast<const float*>(operand_.data) + from, count, codes_ + to);
        if (operand_.kind == Operand::float32)
            return staged(static_cast<const float*>(operand_.data) + from, from_step, codes_ + to, to_step, count);
        return staged(static_cast<const double*>(operand_.data) + from, from_step, codes_ + to, to_step, count);
    }

    template <typename Float>
    int32_t staged(const Float* x, int64_t from_step, Code* v, int64_t to_step, int64_t count) {
        Float numbers[kStaged];
        Code codes[kStaged];
        int32_t status = kOk;
        for (int64_t done = 0; done < count; done += kStaged) {
            const int64_t n = std::min(kStaged, count - done);
            for (int64_t i = 0; i < n; ++i) numbers[i] = x[(done + i) * from_step];
            status |= encode(numbers, n, codes);
            for (int64_t i = 0; i < n; ++i) v[(done + i) * to_step] = codes[i];
        }
        return status;
    }

    int32_t encode(const float* x, int64_t n, int16_t* v) {
        return elementwise_kernels().encode16(arithmetic_, x, n, v);
    }
    int32_t encode(const float* x, int64_t n, int32_t* v) {
        return elementwise_kernels().encode32(arithmetic_, x, n, v);
    }
    int32_t encode(const double* x, int64_t n, int32_t* v) {
        return elementwise_kernels().encode_double(arithmetic_, x, n, v);
    }
    int32_t encode(const double* x, int64_t n, int16_t* v) {
        int32_t codes[kStaged];
        const int32_t status = encode(x, n, codes);
        for (int64_t i = 0; i < n; ++i) v[i] = static_cast<int16_t>(codes[i]);
        return status;
    }

    const Arithmetic& arithmetic_;
    const Operand& operand_;
    Code* codes_;
};

// Numbers added to the sums once they are rounded; steps from one batch, row and column of the result to the next.
struct Bias {
    Operand numbers;
    int64_t batch_step, row_step, column_step;
};

struct Contraction {
    const Arithmetic* arithmetic;
    Operand a, b;
    float* out;
    Longs batch, rows, columns, terms;  // sizes with strides: (a, b, out), (a, out), (b, out), (a, b)
    int64_t a_start, b_start;  // added to every offset
    std::optional<Bias> bias;
    int threads;
    bool generic;
};

}  // namespace

}  // namespace slipstick
