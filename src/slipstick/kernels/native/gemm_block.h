// One block of outputs: packing, the micro-kernel over one chunk of terms, the stack of partial sums between chunks.
// The policy P (gemm_generic.h, gemm_bytes.h) says what a sum is.
#pragma once

#include <type_traits>

#include "gemm.h"
#include "gemm_gather.h"
#include "gemm_simd.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

constexpr int kTile = 4;  // rows of A that one micro-kernel call works on

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Where the parts of a block's workspace lie.
template <typename P>
struct Layout {
    int units, chunk;
    int64_t row_step, row_bytes, column_bytes, partial_bytes, codes_bytes, offset_bytes, stack_bytes, total;

    explicit Layout(const GemmBlock& g)
        : units(static_cast<int>(round_up(g.columns, P::kUnit) / P::kUnit)), chunk(g.schedule->chunk_length) {
        int depth = 1;
        for (const Chunk& c : g.schedule->chunks) depth = c.order->depth > depth ? c.order->depth : depth;
        row_step = round_up(int64_t{chunk} * P::kRowBytes, 64) + 64;
        row_bytes = row_step * g.rows;
        column_bytes = int64_t{units} * chunk * P::kColumnBytes;
        partial_bytes = int64_t{g.rows} * units * P::kValueBytes;
        codes_bytes = round_up(int64_t{chunk} * P::kUnit * 4, 64) + kMostAtOnce;
        offset_bytes = round_up(int64_t{chunk} * 8, 64);
        stack_bytes = int64_t{depth + 2} * kTile * P::kValueBytes;
        total = 64 + row_bytes + column_bytes + partial_bytes * (g.schedule->depth + 1) + codes_bytes + offset_bytes +
                stack_bytes;
    }
};

template <typename P>
size_t workspace_bytes(const GemmBlock& g) {
    return static_cast<size_t>(Layout<P>(g).total);
}

// Where the terms of a chunk lie, in the order of their visits.
inline void visit_offsets(const int64_t* terms, const ChunkOrder& order, int64_t* offsets) {
    for (int32_t k = 0; k < order.length; ++k) offsets[k] = terms[order.visits[k]];
}

// Codes are asked for so many terms or rows before they are packed: processors do not foresee strides.
constexpr int64_t kTermsAhead = 32;
constexpr int kRowsAhead = 8;
constexpr size_t kLine = 64;  // bytes that memory hands over at once

template <typename T>
SLIPSTICK_INLINE void prefetch(const T* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(reinterpret_cast<const char*>(from) + i);
}

template <typename P, typename Code>
void pack_columns(const P& p, const GemmBlock& g, const Chunk& chunk, const Layout<P>& layout, int64_t* offsets,
                  Code* codes, char* out) {
    const int64_t length = chunk.order->length;
    const Code* b = static_cast<const Code*>(g.b);
    visit_offsets(g.b_terms + chunk.k0, *chunk.order, offsets);
    const auto gather = [&](const int64_t* columns, int count) {
        const Code filler = static_cast<Code>(p.conversion->zero_code);
        const ColumnRuns runs(columns, count);
        if (2 * runs.count <= count)
            copy_runs(b, offsets, length, columns, runs, P::kUnit, filler, codes);
        else
            gather_columns(b, g.b_terms + chunk.k0, chunk.order->places.data(), length, columns, count, P::kUnit, filler,
                           codes);
    };
    for (int u = 0; u < layout.units; ++u, out += length * P::kColumnBytes) {
        const int64_t* columns = g.b_columns + u * P::kUnit;
        const int left = g.columns - u * P::kUnit;
        const int count = left < P::kUnit ? left : P::kUnit;
        bool together = count == P::kUnit;
        for (int j = 1; j < count; ++j) together &= columns[j] == columns[j - 1] + 1;
        if (!together) gather(columns, count);
        for (int64_t k = 0; k < length; ++k) {
            if (together && k + kTermsAhead < length)
                prefetch(b + offsets[k + kTermsAhead] + columns[0], sizeof(Code) * count);
            p.pack_columns(together ? b + offsets[k] + columns[0] : codes + k * P::kUnit, out + k * P::kColumnBytes);
        }
    }
}

// Rows of A are summed in groups of 4, 2 or 1.
inline int group_rows(int left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }

template <typename P, typename Code>
void pack_rows(const P& p, const GemmBlock& g, const Chunk& chunk, const Layout<P>& layout, int64_t* offsets,
               Code* codes, char* out) {
    const ChunkOrder& order = *chunk.order;
    const int64_t* terms = g.a_terms + chunk.k0;
    visit_offsets(terms, order, offsets);
    bool together = true, in_place = true;  // terms of a row lie together, and as they are visited
    for (int32_t k = 1; k < order.length; ++k) {
        together &= terms[k] == terms[k - 1] + 1;
        in_place &= offsets[k] == offsets[k - 1] + 1;
    }
    for (int row = 0; row < g.rows; ++row) {
        const Code* from = static_cast<const Code*>(g.a) + g.a_rows[row];
        if (together && row + kRowsAhead < g.rows)
            prefetch(static_cast<const Code*>(g.a) + g.a_rows[row + kRowsAhead] + terms[0], sizeof(Code) * order.length);
        if (!in_place)
            for (int32_t k = 0; k < order.length; ++k) codes[k] = from[offsets[k]];
        p.pack_row(in_place ? from + offsets[0] : codes, order.run_position.data(), order.length,
                   reinterpret_cast<uint32_t*>(out + row * layout.row_step));
    }
}

// What a micro-kernel call sums: R sums side by side, of several rows and one unit of columns, or of one row and
// several units. Term k of sum r is the product of what lies at rows + k kRowBytes + r row_step and at
// columns + k kColumnBytes + r column_step.
struct Operands {
    const char *rows, *columns;
    int64_t row_step, column_step;
};

template <typename P>
SLIPSTICK_INLINE typename P::Value term(const P& p, const Operands& o, int64_t k, int64_t r) {
    return p.product(o.rows + k * P::kRowBytes + r * o.row_step, o.columns + k * P::kColumnBytes + r * o.column_step);
}

// How many of R additions are made side by side.
template <typename P, int R>
constexpr int kAbreast = R % P::kTogether == 0 ? P::kTogether : 1;

template <typename P, int N>
SLIPSTICK_INLINE void add_all(const P& p, const typename P::Value (&a)[N], const typename P::Value (&b)[N],
                              typename P::Value (&sums)[N]) {
    if constexpr (N == 1)
        sums[0] = p.add(a[0], b[0]);
    else
        p.add_all(a, b, sums);
}

// Adds two neighbouring terms for each of R sums; the first lie at `rows` and `columns`. The loops over sums are not
// unrolled: an addition fills the processor's window, the next sum's follows on its heels.
template <typename P, int R>
SLIPSTICK_INLINE void add_terms(const P& p, const char* rows, const char* columns, int64_t row_step,
                                int64_t column_step, char* to) {
    constexpr int N = kAbreast<P, R>;
#pragma GCC unroll 1
    for (int r = 0; r < R; r += N, to += N * P::kValueBytes) {
        typename P::Value a[N], b[N], sums[N];
        for (int i = 0; i < N; ++i, rows += row_step, columns += column_step) {
            a[i] = p.product(rows, columns);
            b[i] = p.product(rows + P::kRowBytes, columns + P::kColumnBytes);
        }
        add_all<P, N>(p, a, b, sums);
        for (int i = 0; i < N; ++i) P::store(to + i * P::kValueBytes, sums[i]);
    }
}

// settled: biases to put back, 0 for leaving it to a later merge.
template <typename P, int R>
SLIPSTICK_INLINE void merge(const P& p, char* to, int settled, bool clamp) {
    constexpr int N = kAbreast<P, R>;
#pragma GCC unroll 1
    for (int r = 0; r < R; r += N, to += N * P::kValueBytes) {
        typename P::Value a[N], b[N], sums[N];
        for (int i = 0; i < N; ++i) a[i] = P::load(to + i * P::kValueBytes);
        for (int i = 0; i < N; ++i) b[i] = P::load(to + (R + i) * P::kValueBytes);
        add_all<P, N>(p, a, b, sums);
        for (int i = 0; i < N; ++i)
            P::store(to + i * P::kValueBytes, settled ? p.settle(sums[i], settled, clamp) : sums[i]);
    }
}

// Where additions are made abreast they are functions: inlined they fill the processor's cache of instructions.
template <typename P, int R>
__attribute__((noinline)) void call_add_terms(const P& p, const char* rows, const char* columns, int64_t row_step,
                                              int64_t column_step, char* to) {
    add_terms<P, R>(p, rows, columns, row_step, column_step, to);
}

template <typename P, int R>
__attribute__((noinline)) void call_merge(const P& p, char* to, int settled, bool clamp) {
    merge<P, R>(p, to, settled, clamp);
}

template <typename P, int R>
SLIPSTICK_INLINE void sum_terms(const P& p, const char* rows, const char* columns, const Operands& o, char* to) {
    if constexpr (P::kTogether > 1)
        call_add_terms<P, R>(p, rows, columns, o.row_step, o.column_step, to);
    else
        add_terms<P, R>(p, rows, columns, o.row_step, o.column_step, to);
}

template <typename P, int R>
SLIPSTICK_INLINE void sum_partial(const P& p, char* to, int settled, bool clamp) {
    if constexpr (P::kTogether > 1)
        call_merge<P, R>(p, to, settled, clamp);
    else
        merge<P, R>(p, to, settled, clamp);
}

template <typename P, int R>
void tree_tile(const P& policy, const ChunkOrder& order, const Operands& o, char* stack) {
    // A copy, which what is stored cannot alias: constants stay in registers, where there are enough.
    const std::conditional_t<kManyRegisters, const P, const P&> p = policy;
    constexpr int64_t kLevel = R * P::kValueBytes;
    const bool clamp = p.must_clamp(order.levels);
    char* top = stack;
    for (const Step *step = order.steps.data(), *end = step + order.steps.size(); step != end; ++step, top += kLevel) {
        const bool lazy = P::kLazy && step->whole;
        if (step->terms == 4) {
            const char *rows = o.rows + step->k[0] * P::kRowBytes, *rows2 = rows + 2 * P::kRowBytes;
            const char *columns = o.columns + step->k[0] * P::kColumnBytes, *columns2 = columns + 2 * P::kColumnBytes;
            sum_terms<P, R>(p, rows, columns, o, top);
            sum_terms<P, R>(p, rows2, columns2, o, top + kLevel);
            sum_partial<P, R>(p, top, lazy ? 0 : 2, false);
        } else if (step->terms == 2) {
#pragma GCC unroll 1
            for (int r = 0; r < R; ++r)
                P::store(top + r * P::kValueBytes,
                         p.settle(p.add(term(p, o, step->k[0], r), term(p, o, step->k[1], r)), 1, false));
        } else {
            for (int r = 0; r < R; ++r) P::store(top + r * P::kValueBytes, term(p, o, step->k[0], r));
        }
        for (int merged = 0; merged < step->merges; ++merged) {
            top -= kLevel;
            sum_partial<P, R>(p, top, !lazy || merged > 1 ? 1 : merged == 1 ? 4 : 0, clamp);
        }
    }
}

// Adds terms k0 <= k < k1 to the sums in `at`, or starts them with term k0.
template <typename P, int R>
void run_tile(const P& p, int64_t k0, int64_t k1, bool resume, const Operands& o, char* at) {
    constexpr int N = kAbreast<P, R>;
    typename P::Value sum[R];
    for (int r = 0; r < R; ++r) sum[r] = resume ? P::load(at + r * P::kValueBytes) : term(p, o, k0, r);
    for (int64_t k = resume ? k0 : k0 + 1; k < k1;) {
        const int64_t stop = k1 - k < P::kPeriod ? k1 : k + P::kPeriod;
        const int additions = static_cast<int>(stop - k);
        for (; k < stop; ++k)
            for (int r = 0; r < R; r += N) {
                typename P::Value a[N], b[N], sums[N];
                for (int i = 0; i < N; ++i) a[i] = sum[r + i];
                for (int i = 0; i < N; ++i) b[i] = term(p, o, k, r + i);
                add_all<P, N>(p, a, b, sums);
                for (int i = 0; i < N; ++i) sum[r + i] = sums[i];
            }
        for (int r = 0; r < R; ++r) sum[r] = p.settle(sum[r], additions, false);
    }
    for (int r = 0; r < R; ++r) P::store(at + r * P::kValueBytes, sum[r]);
}

template <typename P, int R>
void runs_tile(const P& p, const ChunkOrder& order, const Operands& o, char* stack) {
    constexpr int64_t kLevel = R * P::kValueBytes;
    const bool clamp = p.must_clamp(order.levels);
    char* top = stack;
    for (const Step *step = order.steps.data(), *end = step + order.steps.size(); step != end; ++step, top += kLevel) {
        run_tile<P, R>(p, step->k[0], step->k[1], order.resume, o, top);
        for (int merges = step->merges; merges > 0; --merges) merge<P, R>(p, top -= kLevel, 1, clamp);
    }
}

// One chunk of R sums. `partial` receives them, or holds those that the chunk resumes.
template <typename P, int R>
void tile(const P& p, const ChunkOrder& order, const Operands& o, char* stack, char* partial) {
    constexpr int64_t kBytes = R * P::kValueBytes;
    if (order.resume) std::memcpy(stack, partial, kBytes);
    if (order.steps[0].terms == 0)
        runs_tile<P, R>(p, order, o, stack);
    else
        tree_tile<P, R>(p, order, o, stack);
    std::memcpy(partial, stack, kBytes);
}

template <typename P>
void tiles(const P& p, const ChunkOrder& order, int group, const Operands& o, char* stack, char* partial) {
    if (group == 4) tile<P, 4>(p, order, o, stack, partial);
    if (group == 2) tile<P, 2>(p, order, o, stack, partial);
    if (group == 1) tile<P, 1>(p, order, o, stack, partial);
}

template <typename P>
void run_chunk(const P& p, const GemmBlock& g, const ChunkOrder& order, const Layout<P>& layout, const char* rows,
               const char* columns, char* stack, char* partial) {
    const int64_t panel = order.length * P::kColumnBytes;
    if (g.rows == 1) {
        for (int u = 0; u < layout.units;) {
            const int group = group_rows(layout.units - u);
            const Operands o{rows, columns + u * panel, 0, panel};
            tiles(p, order, group, o, stack, partial + int64_t{u} * P::kValueBytes);
            u += group;
        }
        return;
    }
    for (int u = 0; u < layout.units; ++u) {
        for (int row = 0; row < g.rows;) {
            const int group = group_rows(g.rows - row);
            const Operands o{rows + row * layout.row_step, columns + u * panel, layout.row_step, 0};
            tiles(p, order, group, o, stack, partial + (int64_t{u} * g.rows + row) * P::kValueBytes);
            row += group;
        }
    }
}

// Leaving the accumulator: fraction bits that the operand lacks are rounded away, ties to the even log.
SLIPSTICK_INLINE int32_t operand_code(const Conversion& c, int32_t log, int32_t sign) {
    const int32_t half = (1 << c.shift) >> 1, below = half ? half - 1 : 0;
    const int32_t odd = (log >> c.shift) & (half ? 1 : 0);
    int32_t rounded = ((log == INT32_MIN ? 0 : log) + below + odd) >> c.shift;
    rounded = rounded > c.max_log ? c.max_log : rounded;
    rounded = rounded < -c.max_log ? c.low_log : rounded;
    const int32_t code = rounded == c.zero_log ? c.zero_code : 2 * rounded + sign;
    return log == INT32_MIN ? c.zero_code : code;
}

template <typename P>
void finish(const P& p, const GemmBlock& g, const Layout<P>& layout, const char* partial) {
    const Conversion conversion = *p.conversion;  // a copy, which `out` cannot alias
    int32_t logs[P::kUnit], signs[P::kUnit];
    for (int u = 0; u < layout.units; ++u)
        for (int row = 0; row < g.rows; ++row) {
            p.finish(P::load(partial + (int64_t{u} * g.rows + row) * P::kValueBytes), logs, signs);
            int32_t* out = g.out + int64_t{row} * g.out_stride + u * P::kUnit;
            for (int i = 0; i < P::kUnit; ++i) out[i] = operand_code(conversion, logs[i], signs[i]);
        }
}

template <typename P>
void run_block(const GemmBlock& g) {
    const P p(*g.plan);
    const Layout<P> layout(g);
    char* at = g.workspace + (64 - reinterpret_cast<uintptr_t>(g.workspace) % 64) % 64;
    auto take = [&](int64_t bytes) {
        char* part = at;
        at += bytes;
        return part;
    };
    char* rows = take(layout.row_bytes);
    char* columns = take(layout.column_bytes);
    char* codes = take(layout.codes_bytes);
    int64_t* offsets = reinterpret_cast<int64_t*>(take(layout.offset_bytes));
    char* stack = take(layout.stack_bytes);
    char* top = at;  // of the partial sums
    const int64_t values = int64_t{g.rows} * layout.units;
    for (const Chunk& chunk : g.schedule->chunks) {
        if (g.wide_codes) {
            pack_rows(p, g, chunk, layout, offsets, reinterpret_cast<int32_t*>(codes), rows);
            pack_columns(p, g, chunk, layout, offsets, reinterpret_cast<int32_t*>(codes), columns);
        } else {
            pack_rows(p, g, chunk, layout, offsets, reinterpret_cast<int16_t*>(codes), rows);
            pack_columns(p, g, chunk, layout, offsets, reinterpret_cast<int16_t*>(codes), columns);
        }
        if (chunk.order->resume) top -= layout.partial_bytes;
        run_chunk(p, g, *chunk.order, layout, rows, columns, stack, top);
        for (int merge = 0; merge < chunk.merges; ++merge) {
            top -= layout.partial_bytes;
            for (int64_t i = 0; i < values; ++i) {
                char* sum = top + i * P::kValueBytes;
                P::store(sum, p.settle(p.add(P::load(sum), P::load(sum + layout.partial_bytes)), 1, true));
            }
        }
        top += layout.partial_bytes;
    }
    finish(p, g, layout, top - layout.partial_bytes);
}

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
