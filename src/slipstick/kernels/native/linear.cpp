// Contractions of LinearAccumulate: place the operands, compute blocks of outputs in parallel, scale.
#include "linear.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>

#include "isa.h"
#include "operands.h"
#include "threads.h"

namespace nb = nanobind;

namespace slipstick {

namespace portable { extern const LinearKernels kLinear; }
#if defined(SLIPSTICK_X86)
namespace avx2 { extern const LinearKernels kLinear; }
namespace avx512 { extern const LinearKernels kLinear; }
#endif

const LinearKernels& linear_kernels() {
#if defined(SLIPSTICK_X86)
    if (current_isa() == Isa::avx512) return avx512::kLinear;
    if (current_isa() == Isa::avx2) return avx2::kLinear;
#endif
    return portable::kLinear;
}

namespace {

template <typename T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int64_t kBlockRows = 252, kBlockColumns = 384, kLeastRows = 48;
constexpr int64_t kRowUnit = 12, kColumnUnit = 96;  // blocks of whole tiles waste no lanes
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kLanesBeyond = 32;  // how far past the last operand a vector may read

template <typename T>
std::vector<T> copy(const Vector<T>& given, size_t unused = 0) {
    std::vector<T> made(given.data(), given.data() + given.shape(0));
    made.resize(made.size() + unused);
    return made;
}

// From the numbers of logarithms to those of signed logs.
std::vector<float> signed_logs(const std::vector<float>& numbers) {
    std::vector<float> made(2 * numbers.size() + 1, 0.0f);
    for (size_t log = 0; log < numbers.size(); ++log) {
        made[numbers.size() - 1 - log] = -numbers[log];
        made[numbers.size() + 1 + log] = numbers[log];
    }
    return made;
}

std::shared_ptr<LinearPlan> make_plan(int bits, bool saturate, const Vector<int32_t>& terms, int fraction, int versions,
                                      const Vector<float>& left, const Vector<float>& remainders) {
    auto plan = std::make_shared<LinearPlan>();
    plan->terms = copy(terms);
    plan->largest = static_cast<int32_t>(plan->terms.size() - 1) / 2;
    plan->terms.resize(2 * plan->zero() + 1, 0);
    plan->bits = bits;
    plan->saturate = saturate;
    plan->largest_term = std::max(1, *std::max_element(plan->terms.begin(), plan->terms.end()));
    plan->fraction = fraction;
    plan->versions = versions;
    if (versions > 0) plan->left = signed_logs(copy(left));
    plan->remainders = copy(remainders, kLanesBeyond);
    return plan;
}

// The signed logs of an operand at their places; what lies between is zero.
class Placed {
public:
    Placed(const Operand& operand, int threads) {
        const bool in_place = operand.base == 0 && operand.sizes.size() == 1 && operand.from[0] == 1 &&
                              operand.to[0] == 1 && operand.count() == operand.total;
        if (in_place) {
            // Vectors read only what lies between the first and the last column of a line.
            data_ = static_cast<const int16_t*>(operand.data);
            return;
        }
        const int64_t bytes = sizeof(int16_t) * (operand.total + kLanesBeyond);
        memory_ = allocate(bytes);
        int16_t* to = reinterpret_cast<int16_t*>(memory_.get());
        std::fill(to, to + operand.total, int16_t{0});
        const size_t last = operand.sizes.size() - 1;
        const int64_t inner = operand.sizes[last], outer = operand.count() / std::max<int64_t>(inner, 1);
        const int16_t* from = static_cast<const int16_t*>(operand.data);
        parallel_for((outer + kLines - 1) / kLines, threads, [&](int64_t task) {
            for (int64_t line = task * kLines; line < std::min((task + 1) * kLines, outer); ++line)
                copy_line(operand, line, from, to);
        });
        data_ = to;
    }

    const int16_t* data() const { return data_; }

private:
    static constexpr int64_t kLines = 64;

    static void copy_line(const Operand& operand, int64_t line, const int16_t* from, int16_t* to) {
        const size_t last = operand.sizes.size() - 1;
        int64_t source = 0, target = operand.base;
        for (size_t d = last; d-- > 0;) {
            source += line % operand.sizes[d] * operand.from[d];
            target += line % operand.sizes[d] * operand.to[d];
            line /= operand.sizes[d];
        }
        for (int64_t i = 0; i < operand.sizes[last]; ++i)
            to[target + i * operand.to[last]] = from[source + i * operand.from[last]];
    }

    Buffer memory_;
    const int16_t* data_;
};

struct Sums {
    const LinearPlan* plan;
    const int16_t *a, *b;
    Longs batch, rows, columns, terms;
};

void write(const LinearBlock& block, const int64_t* rows, const int64_t* columns, const double* row_scales, float* out) {
    const bool together = columns[block.columns - 1] - columns[0] == block.columns - 1;
    for (int row = 0; row < block.rows; ++row) {
        const int32_t* sums = block.out + int64_t{row} * block.out_stride;
        const double scale = row_scales[row];
        float* to = out + rows[row];
        if (together) {
            for (int j = 0; j < block.columns; ++j) to[columns[0] + j] = static_cast<float>(sums[j] * scale);
        } else {
            for (int j = 0; j < block.columns; ++j) to[columns[j]] = static_cast<float>(sums[j] * scale);
        }
    }
}

// The size of equal blocks of at most `most`, in units.
int64_t block_size(int64_t size, int64_t most, int64_t unit) {
    const int64_t blocks = (size + most - 1) / most, even = (size + blocks - 1) / blocks;
    return (even + unit - 1) / unit * unit;
}

// out: float32. scales: what one unit of a sum is worth, for each row of each batch entry.
void linear_contract(const LinearPlan& plan, const Longs& a, const Longs& b, int64_t out, nb::object batch,
                     nb::object rows, nb::object columns, nb::object terms, int64_t start,
                     const Vector<double>& scales, int threads) {
    const Longs batch_flat = flat(batch), rows_flat = flat(rows), columns_flat = flat(columns), terms_flat = flat(terms);
    nb::gil_scoped_release release;
    const Placed left(Operand(a), threads), right(Operand(b), threads);
    const Dims batch_dims(batch_flat, 3), row_dims(rows_flat, 2), column_dims(columns_flat, 2), term_dims(terms_flat, 2);
    const Longs a_batch = batch_dims.offsets(0), b_batch = batch_dims.offsets(1), out_batch = batch_dims.offsets(2);
    const Longs a_rows = row_dims.offsets(0), out_rows = row_dims.offsets(1);
    const Longs b_columns = column_dims.offsets(0), out_columns = column_dims.offsets(1);
    const Longs a_terms = term_dims.offsets(0), b_terms = term_dims.offsets(1);
    const int64_t m = row_dims.size(), n = column_dims.size();
    const int64_t block_columns = block_size(n, kBlockColumns, kColumnUnit);
    const int64_t column_blocks = (n + block_columns - 1) / block_columns;
    const int64_t wanted = (kTasksPerThread * threads + column_blocks - 1) / column_blocks;  // blocks of rows
    const int64_t most_rows = threads == 1 ? kBlockRows : std::clamp(m / wanted, kLeastRows, kBlockRows);
    const int64_t block_rows = block_size(m, most_rows, kRowUnit), row_blocks = (m + block_rows - 1) / block_rows;
    const LinearKernels& kernels = linear_kernels();
    parallel_for(batch_dims.size() * row_blocks * column_blocks, threads, [&](int64_t task) {
        const int64_t row = task / column_blocks % row_blocks * block_rows, column = task % column_blocks * block_columns;
        const int64_t group = task / column_blocks / row_blocks;
        LinearBlock block;
        block.plan = &plan;
        block.a = left.data() + a_batch[group];
        block.b = right.data() + start + b_batch[group];
        block.a_rows = a_rows.data() + row;
        block.a_terms = a_terms.data();
        block.b_terms = b_terms.data();
        block.b_columns = b_columns.data() + column;
        block.rows = static_cast<int>(std::min(block_rows, m - row));
        block.columns = static_cast<int>(std::min(block_columns, n - column));
        block.terms = term_dims.size();
        block.out_stride = (block.columns + kLinearColumnAlign - 1) / kLinearColumnAlign * kLinearColumnAlign;
        const int64_t out_rows_padded = (block.rows + kLinearRowAlign - 1) / kLinearRowAlign * kLinearRowAlign;
        const size_t out_bytes = sizeof(int32_t) * out_rows_padded * block.out_stride;
        char* memory = workspace(kernels.workspace_bytes(block) + out_bytes);
        block.out = reinterpret_cast<int32_t*>(memory);
        block.workspace = memory + out_bytes;
        kernels.run(block);
        write(block, out_rows.data() + row, out_columns.data() + column, scales.data() + group * m + row,
              reinterpret_cast<float*>(out) + out_batch[group]);
    });
}

}  // namespace

void bind_linear(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<LinearPlan>(m, "LinearPlan");
    m.def("make_linear_plan", &make_plan, "bits"_a, "saturate"_a, "terms"_a, "fraction"_a, "versions"_a, "left"_a,
          "remainders"_a);
    m.def("linear_contract", &linear_contract, "plan"_a, "a"_a, "b"_a, "out"_a, "batch"_a, "rows"_a, "columns"_a,
          "terms"_a, "start"_a, "scales"_a, "threads"_a);
}

}  // namespace slipstick
