#include "chain.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>

#include "threads.h"

namespace slipstick {

namespace {

constexpr int64_t kChunk = 512;             // codes of one register: 2 KiB, so a dozen registers stay in L1
constexpr int64_t kTaskElements = 1 << 14;  // enough work to pay for waking a thread

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

int32_t load(const Chain& chain, const Array& array, int64_t begin, int64_t n, int32_t* reg) {
    const ElementwiseKernels& kernels = elementwise_kernels();
    alignas(64) double scratch[kChunk];
    switch (array.kind) {
        case Kind::float32: {
            const float* x = fetch(chain, array, begin, n, reinterpret_cast<float*>(scratch));
            return kernels.encode32(*chain.arithmetic, x, n, reg);
        }
        case Kind::float64:
            return kernels.encode_double(*chain.arithmetic, fetch(chain, array, begin, n, scratch), n, reg);
        case Kind::boolean: {
            const uint8_t* x = fetch(chain, array, begin, n, reinterpret_cast<uint8_t*>(scratch));
            for (int64_t i = 0; i < n; ++i) reg[i] = x[i] != 0;
            return kOk;
        }
        case Kind::code: std::fill_n(reg, n, array.constant);
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

void store(const Chain& chain, const Array& array, int64_t begin, int64_t n, const int32_t* reg) {
    const ElementwiseKernels& kernels = elementwise_kernels();
    const bool dense = array.strides.size() == 1 && array.strides[0] == 1;
    alignas(64) float values[kChunk];
    if (array.kind == Kind::boolean) {
        alignas(64) uint8_t flags[kChunk];
        for (int64_t i = 0; i < n; ++i) flags[i] = static_cast<uint8_t>(reg[i]);
        scatter(chain, array, begin, n, flags);
    } else if (array.kind == Kind::float32 && dense) {
        kernels.decode32(*chain.arithmetic, reg, n, reinterpret_cast<float*>(array.data) + begin);
    } else {
        kernels.decode32(*chain.arithmetic, reg, n, values);
        if (array.kind == Kind::float32) {
            scatter(chain, array, begin, n, values);
        } else {
            alignas(64) double wide[kChunk];
            for (int64_t i = 0; i < n; ++i) wide[i] = values[i];
            scatter(chain, array, begin, n, wide);
        }
    }
}

int32_t run_range(const Chain& chain, int64_t begin, int64_t end) {
    const ElementwiseKernels& kernels = elementwise_kernels();
    const Program& program = *chain.program;
    std::vector<int32_t> file(static_cast<size_t>(program.registers) * kChunk);
    auto reg = [&](int32_t r) { return file.data() + static_cast<size_t>(r) * kChunk; };
    int32_t status = kOk;
    for (; begin < end; begin += kChunk) {
        const int64_t n = std::min(kChunk, end - begin);
        for (int32_t i = 0; i < program.inputs; ++i) status |= load(chain, chain.inputs[i], begin, n, reg(i));
        for (const Step& step : program.steps) {
            const int32_t* table = step.op == Op::lookup ? chain.tables[step.table] : nullptr;
            status |= kernels.apply(*chain.arithmetic, step.op, reg(step.a), reg(step.b), reg(step.c), table, n,
                                    reg(step.out));
        }
        for (size_t i = 0; i < program.outputs.size(); ++i)
            store(chain, chain.outputs[i], begin, n, reg(program.outputs[i]));
    }
    return status;
}

}  // namespace

int32_t run_chain(Chain chain, int threads) {
    for (int64_t size : chain.shape)
        if (size == 0) return kOk;
    coalesce(chain);
    int64_t total = 1;
    for (int64_t size : chain.shape) total *= size;
    const int64_t tasks = (total + kTaskElements - 1) / kTaskElements;
    std::atomic<int32_t> status{kOk};
    parallel_for(tasks, threads, [&](int64_t task) {
        const int64_t begin = task * kTaskElements;
        status |= run_range(chain, begin, std::min(total, begin + kTaskElements));
    });
    return status;
}

}  // namespace slipstick
