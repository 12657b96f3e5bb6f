// Contractions: encode the operands, choose the kernel that is exact for them, compute blocks of outputs in parallel.
#include "gemm.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "gemm_epilogue.h"
#include "gemm_problem.h"
#include "gemm_schedule_build.h"
#include "gemm_steps_build.h"
#include "gemm_unsigned_build.h"
#include "isa.h"
#include "tensors.h"

namespace nb = nanobind;

namespace slipstick {

namespace portable { extern const GemmKernels kGemm; }
#if defined(SLIPSTICK_X86)
namespace avx2 { extern const GemmKernels kGemm; }
namespace avx512 { extern const GemmKernels kGemm; }
#endif

const GemmKernels& gemm_kernels() {
#if defined(SLIPSTICK_X86)
    if (current_isa() == Isa::avx512) return avx512::kGemm;
    if (current_isa() == Isa::avx2) return avx2::kGemm;
#endif
    return portable::kGemm;
}

namespace {

constexpr int64_t kPanelBytes = 256 * 1024, kColumnPackedBytes = 4;

const GemmPath& choose_path(const GemmPlan& plan, int64_t terms, bool generic) {
    const GemmKernels& kernels = gemm_kernels();
    const GemmPath* fast = generic ? nullptr : kernels.fast(plan, terms);
    if (fast) return *fast;
    return terms <= plan.generic.unchecked_terms ? kernels.unchecked : kernels.checked;
}

// Rows are cheap to pad, columns are not: exchange the operands where that wastes fewer lanes.
void exchange_if_better(Contraction& c) {
    const int64_t rows = Dims(c.rows, 2).size(), columns = Dims(c.columns, 2).size();
    auto cost = [](int64_t m, int64_t n) {
        return static_cast<double>(m + (m < 4 ? 1 : 0)) * ((n + 31) / 32 * 32) / (m < 4 ? 0.7 : 1.0);
    };
    if (cost(columns, rows) >= 0.9 * cost(rows, columns)) return;
    std::swap(c.a, c.b);
    std::swap(c.a_start, c.b_start);
    std::swap(c.rows, c.columns);
    if (c.bias) std::swap(c.bias->row_step, c.bias->column_step);
    for (size_t i = 0; i + 2 < c.terms.size(); i += 3) std::swap(c.terms[i + 1], c.terms[i + 2]);
    for (size_t i = 0; i + 3 < c.batch.size(); i += 4) std::swap(c.batch[i + 1], c.batch[i + 2]);
}

struct Blocking {
    int64_t rows, columns;
};

Blocking choose_blocking(int64_t rows, int64_t columns, int64_t batches, int64_t chunk, int threads) {
    int64_t block_columns = std::min(kBlockColumns, (columns + 31) / 32 * 32), block_rows = std::min(kBlockRows, rows);
    while (block_columns > 64 && block_columns * chunk * kColumnPackedBytes > kPanelBytes) block_columns /= 2;
    auto tasks = [&] {
        return batches * ((rows + block_rows - 1) / block_rows) * ((columns + block_columns - 1) / block_columns);
    };
    while (threads > 1 && tasks() < 4 * threads) {
        if (block_rows > 16)
            block_rows = (block_rows / 2 + 3) / 4 * 4;
        else if (block_columns > 32)
            block_columns = (block_columns / 2 + 31) / 32 * 32;
        else
            break;
    }
    return {block_rows, block_columns};
}

// The codes of an operand: where they are already, or in new memory, which for a small one is here and costs nothing.
template <typename Code>
class Codes {
public:
    Codes(const Arithmetic& arithmetic, const Operand& operand, int threads) {
        if (operand.kind == Operand::codes) {
            codes_ = static_cast<const Code*>(operand.data);
            return;
        }
        if (operand.total > kHere) far_ = allocate(sizeof(Code) * operand.total);
        Code* memory = far_ ? reinterpret_cast<Code*>(far_.get()) : here_;
        status_ = Encoder<Code>(arithmetic, operand, memory).run(threads);
        codes_ = memory;
    }

    const Code* get() const { return codes_; }
    int32_t status() const { return status_; }

private:
    static constexpr int64_t kHere = 256, kBehind = 64;  // kernels may read beyond the last one
    alignas(64) Code here_[kHere + kBehind];
    Buffer far_;
    const Code* codes_;
    int32_t status_ = kOk;
};

template <typename Code>
bool contract_codes(const Contraction& c) {
    const Arithmetic& arithmetic = *c.arithmetic;
    const Codes<Code> a(arithmetic, c.a, c.threads), b(arithmetic, c.b, c.threads);
    std::optional<Codes<int32_t>> bias;
    if (c.bias) bias.emplace(arithmetic, c.bias->numbers, c.threads);
    if (a.status() != kOk || b.status() != kOk || (bias && bias->status() != kOk)) return false;
    const Code *a_codes = a.get(), *b_codes = b.get();

    const Dims batch(c.batch, 3), rows(c.rows, 2), columns(c.columns, 2), terms(c.terms, 2);
    const Longs a_batch = batch.offsets(0), b_batch = batch.offsets(1), out_batch = batch.offsets(2);
    const Longs a_rows = rows.offsets(0), out_rows = rows.offsets(1);
    const Longs b_columns = columns.offsets(0), out_columns = columns.offsets(1);
    const Longs a_terms = terms.offsets(0), b_terms = terms.offsets(1);
    const auto schedule = make_schedule(arithmetic.order, terms.size());
    const GemmPath& path = choose_path(*arithmetic.gemm_plan, terms.size(), c.generic);

    const int64_t m = rows.size(), n = columns.size(), batches = batch.size();
    const Blocking size = choose_blocking(m, n, batches, schedule->chunk_length, c.threads);
    const int64_t row_blocks = (m + size.rows - 1) / size.rows, column_blocks = (n + size.columns - 1) / size.columns;
    parallel_for(batches * row_blocks * column_blocks, c.threads, [&](int64_t task) {
        // Blocks of the same columns follow each other: rows lie together in memory and are the quicker ones to read.
        const int64_t i = task % row_blocks, j = task / row_blocks % column_blocks;
        const int64_t group = task / row_blocks / column_blocks;
        const int64_t row = i * size.rows, column = j * size.columns;
        GemmBlock block;
        block.plan = arithmetic.gemm_plan.get();
        block.schedule = schedule.get();
        block.a = a_codes + c.a_start + a_batch[group];
        block.b = b_codes + c.b_start + b_batch[group];
        block.wide_codes = sizeof(Code) == 4;
        block.a_rows = a_rows.data() + row;
        block.a_terms = a_terms.data();
        block.b_terms = b_terms.data();
        block.b_columns = b_columns.data() + column;
        block.rows = static_cast<int>(std::min(size.rows, m - row));
        block.columns = static_cast<int>(std::min(size.columns, n - column));
        block.out_stride = (block.columns + kColumnAlign - 1) / kColumnAlign * kColumnAlign;
        const size_t out_bytes = sizeof(int32_t) * block.rows * block.out_stride;
        char* memory = workspace(path.workspace_bytes(block) + out_bytes);
        block.out = reinterpret_cast<int32_t*>(memory);
        block.workspace = memory + out_bytes;
        path.run(block);
        BlockBias addend;
        if (bias) {
            const Bias& at = *c.bias;
            addend = {bias->get() + group * at.batch_step + row * at.row_step + column * at.column_step, at.row_step,
                      at.column_step};
        }
        write_block(arithmetic, block, addend,
                    {c.out + out_batch[group], out_rows.data() + row, out_columns.data() + column});
    });
    return true;
}

template <typename Work>
auto released(Work work) {
    nb::gil_scoped_release release;
    return work();
}

// Returns false where an operand held a NaN.
bool run(Contraction& c) {
    exchange_if_better(c);
    return c.arithmetic->operand.width() <= 16 ? contract_codes<int16_t>(c) : contract_codes<int32_t>(c);
}

bool contract(const Arithmetic& arithmetic, const Longs& a, const Longs& b, int64_t out, nb::object batch,
              nb::object rows, nb::object columns, nb::object terms, int64_t start, const std::optional<Longs>& bias,
              const Longs& bias_steps, int threads, bool generic) {
    Contraction c{&arithmetic, Operand(a), Operand(b), reinterpret_cast<float*>(out), flat(batch), flat(rows),
                  flat(columns), flat(terms), 0, start, std::nullopt, threads, generic};
    if (bias) c.bias = Bias{Operand(*bias), bias_steps.at(0), bias_steps.at(1), bias_steps.at(2)};
    nb::gil_scoped_release release;
    return run(c);
}

// One float32 number for each column; nothing where `x` is not that.
std::optional<Bias> column_bias(const Torch& torch, nb::object x, int64_t columns) {
    const auto view = torch.view(x);
    if (!view || view->kind != Kind::float32 || view->shape != Longs{columns}) return std::nullopt;
    const Dense codes = dense_of(*view);
    return Bias{Operand(codes.description), 0, 0, codes.strides[0]};
}

// The product of float32 matrices, or of as many in a batch, and a bias that is one number for each column, or None.
// False where an operand held a NaN, None where Python shall do it: other tensors, nothing to add, shapes that do not
// fit.
nb::object matmul(const Torch& torch, const Arithmetic& arithmetic, nb::object a, nb::object b, nb::object bias,
                  int threads) {
    const auto left = torch.view(a), right = torch.view(b);
    if (!left || !right || left->kind != Kind::float32 || right->kind != Kind::float32) return nb::none();
    const Longs &size = left->shape, &other = right->shape;
    const size_t rank = size.size();
    if (rank != other.size() || (rank != 2 && rank != 3) || size[rank - 1] != other[rank - 2]) return nb::none();
    if (rank == 3 && size[0] != other[0]) return nb::none();
    const int64_t rows = size[rank - 2], terms = size[rank - 1], columns = other[rank - 1];
    const Longs shape = rank == 3 ? Longs{size[0], rows, columns} : Longs{rows, columns};
    if (rows * terms * columns * shape[0] == 0) return nb::none();
    std::optional<Bias> addend;
    if (!bias.is_none() && !(addend = column_bias(torch, bias, columns))) return nb::none();
    const nb::object out = torch.fresh(shape);
    const auto place = torch.view(out);
    if (!place) return nb::none();
    const Dense x = dense_of(*left), y = dense_of(*right);
    const Longs batch = rank == 3 ? Longs{size[0], x.strides[0], y.strides[0], rows * columns} : Longs{};
    Contraction c{&arithmetic, Operand(x.description), Operand(y.description), reinterpret_cast<float*>(place->data),
                  batch, {rows, x.strides[rank - 2], columns}, {columns, y.strides[rank - 1], 1},
                  {terms, x.strides[rank - 1], y.strides[rank - 2]}, 0, 0, addend, threads, false};
    return released([&] { return run(c); }) ? out : nb::bool_(false);
}

// Which of `rank` dimensions `dims` names, all of them where it names none; nothing where it names others.
std::optional<std::vector<bool>> reduced_of(nb::handle dims, size_t rank) {
    if (dims.is_none() || nb::len(dims) == 0) return std::vector<bool>(rank, true);
    std::vector<bool> reduced(rank, false);
    for (nb::handle dim : dims) {
        int64_t d;
        if (!nb::try_cast(dim, d)) return std::nullopt;
        if (d < 0) d += static_cast<int64_t>(rank);
        if (d < 0 || d >= static_cast<int64_t>(rank)) return std::nullopt;
        reduced[d] = true;
    }
    return reduced;
}

// The sum of a float32 tensor or of codes over some dimensions; otherwise as `matmul`.
nb::object sum_over(const Torch& torch, const Arithmetic& arithmetic, nb::object x, nb::object dims, bool keepdim,
                    int threads) {
    const auto view = torch.view(x);
    if (!view || (view->kind != Kind::float32 && view->kind != Kind::codes)) return nb::none();
    const auto reduced = reduced_of(dims, view->shape.size());
    if (!reduced) return nb::none();
    const Dense codes = dense_of(*view);
    Longs shape, columns, terms;
    int64_t elements = 1, kept = 1;
    for (size_t d = 0; d < view->shape.size(); ++d) {
        elements *= view->shape[d];
        if (!(*reduced)[d]) kept *= view->shape[d];
        if (!(*reduced)[d] || keepdim) shape.push_back((*reduced)[d] ? 1 : view->shape[d]);
    }
    if (elements == 0) return nb::none();
    for (size_t d = 0; d < view->shape.size(); ++d) {
        if ((*reduced)[d]) {
            terms.insert(terms.end(), {view->shape[d], 0, codes.strides[d]});
        } else {
            kept /= view->shape[d];
            columns.insert(columns.end(), {view->shape[d], codes.strides[d], kept});
        }
    }
    const nb::object out = torch.fresh(shape);
    const auto place = torch.view(out);
    if (!place) return nb::none();
    Contraction c{&arithmetic, Operand({Operand::ones, 0, 0, 1}), Operand(codes.description),
                  reinterpret_cast<float*>(place->data), {}, {}, columns, terms, 0, 0, std::nullopt, threads, false};
    return released([&] { return run(c); }) ? out : nb::bool_(false);
}

std::string plan_name(const Arithmetic& arithmetic, int64_t terms) {
    return choose_path(*arithmetic.gemm_plan, terms, false).name;
}

}  // namespace

std::shared_ptr<const GemmPlan> make_gemm_plan(const Arithmetic& arithmetic) {
    return std::make_shared<GemmPlan>(arithmetic);
}

void bind_gemm(nb::module_& m) {
    using namespace nb::literals;
    m.def("contract", &contract, "arithmetic"_a, "a"_a, "b"_a, "out"_a, "batch"_a, "rows"_a, "columns"_a, "terms"_a,
          "start"_a, "bias"_a.none(), "bias_steps"_a, "threads"_a, "generic"_a = false);
    m.def("matmul", &matmul, "torch"_a, "arithmetic"_a, "a"_a, "b"_a, "bias"_a.none(), "threads"_a);
    m.def("sum_over", &sum_over, "torch"_a, "arithmetic"_a, "x"_a, "dims"_a.none(), "keepdim"_a, "threads"_a);
    m.def("plan_name", &plan_name, "arithmetic"_a, "terms"_a = 512);
}

}  // namespace slipstick
