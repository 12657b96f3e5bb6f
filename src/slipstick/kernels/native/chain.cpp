#include "chain.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>

#include "threads.h"

namespace slipstick {

namespace {

constexpr int64_t kRegisterBytes = 2048;    // a dozen registers stay in L1
constexpr int64_t kMostInChunk = kRegisterBytes / sizeof(int16_t);
constexpr int64_t kTaskElements = 1 << 14;  // enough work to pay for waking a thread
constexpr int64_t kStreamElements = 1 << 22;  // of results larger than what the caches may keep for their next reader

// Orders streaming stores before whatever tells other threads of them.
void store_fence() {
#if defined(SLIPSTICK_X86)
    __builtin_ia32_sfence();
#endif
}

// Reorders dimensions by the first output's strides and merges those that are contiguous in every array.
void coalesce(Chain& chain) {
    std::vector<Array*> arrays;
    for (Array& array : chain.outputs) arrays.push_back(&array);
    for (Array& array : chain.inputs)
        if (array.kind != Kind::code) arrays.push_back(&array);
    std::vector<size_t> order;
    for (size_t d = 0; d < chain.shape.size(); ++d)
        if (chain.shape[d] != 1) order.push_back(d);
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) {
        return chain.outputs[0].strides[i] > chain.outputs[0].strides[j];
    });
    std::vector<int64_t> shape;
    std::vector<std::vector<int64_t>> strides(arrays.size());
    for (size_t d : order) {
        bool merge = !shape.empty();
        for (size_t k = 0; k < arrays.size() && merge; ++k)
            merge = strides[k].back() == arrays[k]->strides[d] * chain.shape[d];
        if (merge) {
            shape.back() *= chain.shape[d];
            for (size_t k = 0; k < arrays.size(); ++k) strides[k].back() = arrays[k]->strides[d];
        } else {
            shape.push_back(chain.shape[d]);
            for (size_t k = 0; k < arrays.size(); ++k) strides[k].push_back(arrays[k]->strides[d]);
        }
    }
    if (shape.empty()) {
        shape.push_back(1);
        for (auto& stride : strides) stride.push_back(1);
    }
    chain.shape = shape;
    for (size_t k = 0; k < arrays.size(); ++k) arrays[k]->strides = strides[k];
}

// Visits the runs along the innermost dimension that make up elements [begin, begin + count) of the iteration space.
class Runs {
public:
    Runs(const std::vector<int64_t>& shape, int64_t begin) : shape_(shape), index_(shape.size()) {
        for (size_t d = shape.size(); d-- > 0;) {
            index_[d] = begin % shape[d];
            begin /= shape[d];
        }
    }

    template <typename Visit>
    void take(int64_t count, const std::vector<int64_t>& strides, Visit visit) {
        const size_t inner = shape_.size() - 1;
        for (int64_t done = 0; done < count;) {
            const int64_t length = std::min(count - done, shape_[inner] - index_[inner]);
            const int64_t offset = std::inner_product(index_.begin(), index_.end(), strides.begin(), int64_t{0});
            visit(done, offset, length);
            done += length;
            index_[inner] += length;
            for (size_t d = inner; d > 0 && index_[d] == shape_[d]; --d) {
                index_[d] = 0;
                ++index_[d - 1];
            }
        }
    }

private:
    const std::vector<int64_t>& shape_;
    std::vector<int64_t> index_;
};

template <typename T>
void gather(const T* from, int64_t stride, int64_t n, T* to) {
    if (stride == 1) {
        std::memcpy(to, from, n * sizeof(T));
    } else {
        for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
    }
}

template <typename T>
const T* fetch(const Chain& chain, const Array& array, int64_t begin, int64_t n, T* scratch) {
    const T* data = reinterpret_cast<const T*>(array.data);
    if (array.strides.size() == 1 && array.strides[0] == 1) return data + begin;
    const int64_t stride = array.strides.back();
    Runs(chain.shape, begin).take(n, array.strides, [&](int64_t at, int64_t offset, int64_t length) {
        gather(data + offset, stride, length, scratch + at);
    });
    return scratch;
}

// The kernels that keep codes in so many bits.
template <typename Code>
struct Kernels;

template <>
struct Kernels<int32_t> {
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
    const ElementwiseKernels& of;
    const Arithmetic& arithmetic;

    int32_t encode(const float* x, int64_t n, int16_t* v) const { return of.encode16(arithmetic, x, n, v); }
    int32_t encode(const double* x, int64_t n, int16_t* v) const {
        int32_t wide[kMostInChunk];
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

template <typename Code>
int32_t load(const Chain& chain, const Kernels<Code>& kernels, const Array& array, int64_t begin, int64_t n,
             Code* reg) {
    alignas(64) double scratch[kMostInChunk];
    switch (array.kind) {
        case Kind::float32:
            return kernels.encode(fetch(chain, array, begin, n, reinterpret_cast<float*>(scratch)), n, reg);
        case Kind::float64: return kernels.encode(fetch(chain, array, begin, n, scratch), n, reg);
        case Kind::boolean: {
            const uint8_t* x = fetch(chain, array, begin, n, reinterpret_cast<uint8_t*>(scratch));
            for (int64_t i = 0; i < n; ++i) reg[i] = x[i] != 0;
            return kOk;
        }
        case Kind::code: std::fill_n(reg, n, static_cast<Code>(array.constant));
    }
    return kOk;
}

template <typename T>
void scatter(const Chain& chain, const Array& array, int64_t begin, int64_t n, const T* values) {
    T* data = reinterpret_cast<T*>(array.data);
    const int64_t stride = array.strides.back();
    Runs(chain.shape, begin).take(n, array.strides, [&](int64_t at, int64_t offset, int64_t length) {
        for (int64_t i = 0; i < length; ++i) data[offset + i * stride] = values[at + i];
    });
}

bool is_dense(const Array& array) { return array.strides.size() == 1 && array.strides[0] == 1; }

template <typename Code>
void store(const Chain& chain, const Kernels<Code>& kernels, const Array& array, int64_t begin, int64_t n,
           const Code* reg, bool stream) {
    alignas(64) float values[kMostInChunk];
    if (array.kind == Kind::boolean) {
        alignas(64) uint8_t flags[kMostInChunk];
        for (int64_t i = 0; i < n; ++i) flags[i] = static_cast<uint8_t>(reg[i]);
        scatter(chain, array, begin, n, flags);
    } else if (array.kind == Kind::float32 && is_dense(array)) {
        float* to = reinterpret_cast<float*>(array.data) + begin;
        kernels.decode(reg, n, to, stream && reinterpret_cast<uintptr_t>(to) % kStreamAlign == 0);
    } else {
        kernels.decode(reg, n, values, false);
        if (array.kind == Kind::float32) {
            scatter(chain, array, begin, n, values);
        } else {
            alignas(64) double wide[kMostInChunk];
            for (int64_t i = 0; i < n; ++i) wide[i] = values[i];
            scatter(chain, array, begin, n, wide);
        }
    }
}

template <typename Code>
struct alignas(64) Register {
    static constexpr int64_t kSize = kRegisterBytes / sizeof(Code);

    Code codes[kSize];
};

template <typename Code>
int32_t run_range(const Chain& chain, int64_t begin, int64_t end, bool stream) {
    const Kernels<Code> kernels{elementwise_kernels(), *chain.arithmetic};
    const Program& program = *chain.program;
    std::vector<Register<Code>> file(program.registers);
    auto reg = [&](int32_t r) { return file[r].codes; };
    int32_t status = kOk;
    for (; begin < end; begin += Register<Code>::kSize) {
        const int64_t n = std::min(Register<Code>::kSize, end - begin);
        for (int32_t i = 0; i < program.inputs; ++i)
            status |= load(chain, kernels, chain.inputs[i], begin, n, reg(i));
        for (const ChainStep& step : program.steps) {
            const int32_t* table = step.op == Op::lookup ? chain.tables[step.table] : nullptr;
            status |= kernels.apply(step.op, reg(step.a), reg(step.b), reg(step.c), table, n, reg(step.out));
        }
        for (size_t i = 0; i < program.outputs.size(); ++i)
            store(chain, kernels, chain.outputs[i], begin, n, reg(program.outputs[i]), stream);
    }
    return status;
}

// Elements before the first dense output of floats reaches a place where streaming may begin.
int64_t lead_of(const Chain& chain) {
    for (const Array& array : chain.outputs) {
        if (array.kind != Kind::float32 || !is_dense(array)) continue;
        const auto beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(array.data) % kStreamAlign);
        return (kStreamAlign - beyond) % kStreamAlign / static_cast<int64_t>(sizeof(float));
    }
    return 0;
}

}  // namespace

int32_t run_chain(Chain chain, int threads) {
    for (int64_t size : chain.shape)
        if (size == 0) return kOk;
    coalesce(chain);
    int64_t total = 1;
    for (int64_t size : chain.shape) total *= size;
    const bool narrow = elementwise_kernels().apply16 && chain.arithmetic->narrow();
    const auto run = narrow ? run_range<int16_t> : run_range<int32_t>;
    const bool stream = narrow && total >= kStreamElements;
    const int64_t lead = stream ? lead_of(chain) : 0;
    const int64_t tasks = (total - lead + kTaskElements - 1) / kTaskElements;
    std::atomic<int32_t> status{kOk};
    parallel_for(tasks, threads, [&](int64_t task) {
        const int64_t begin = lead + task * kTaskElements;
        if (task == 0) status |= run(chain, 0, lead, false);
        status |= run(chain, begin, std::min(total, begin + kTaskElements), stream);
        if (stream) store_fence();
    });
    return status;
}

}  // namespace slipstick
