#include "chain.h"

#include "chain_inputs.h"

namespace slipstick {

namespace {

constexpr int64_t kStreamElements = 1 << 22;  // of results larger than what the caches may keep for their next reader

// Orders streaming stores before whatever tells other threads of them.
void store_fence() {
#if defined(SLIPSTICK_X86)
    __builtin_ia32_sfence();
#endif
}

template <typename Code>
void store(const Chain& chain, const Kernels<Code>& kernels, const Array& array, int64_t begin, int64_t n,
           const Code* reg, bool stream) {
    constexpr int64_t kChunk = Kernels<Code>::kChunk;
    if (array.kind == Kind::boolean) {
        uint8_t flags[kChunk];
        for (int64_t i = 0; i < n; ++i) flags[i] = static_cast<uint8_t>(reg[i]);
        scatter(chain.shape, reinterpret_cast<uint8_t*>(array.data), array.strides, begin, n, flags);
        return;
    }
    if (array.kind == Kind::codes) {
        int16_t codes[kChunk];
        std::copy_n(reg, n, codes);
        scatter(chain.shape, reinterpret_cast<int16_t*>(array.data), array.strides, begin, n, codes);
        return;
    }
    if (array.kind == Kind::float32 && is_dense(chain.shape, array.strides)) {
        float* to = reinterpret_cast<float*>(array.data) + begin;
        kernels.decode(reg, n, to, stream && reinterpret_cast<uintptr_t>(to) % kStreamAlign == 0);
        return;
    }
    alignas(64) float values[kChunk];
    kernels.decode(reg, n, values, false);
    if (array.kind == Kind::float32) {
        scatter(chain.shape, reinterpret_cast<float*>(array.data), array.strides, begin, n, values);
    } else {
        double wide[kChunk];
        std::copy_n(values, n, wide);
        scatter(chain.shape, reinterpret_cast<double*>(array.data), array.strides, begin, n, wide);
    }
}

// One call of a chain, with codes of so many bits in its registers.
template <typename Code>
class Run {
public:
    Run(const Chain& chain, int threads)
        : chain_(chain), kernels_{elementwise_kernels(), *chain.arithmetic}, threads_(threads) {
        inputs_.reserve(chain.inputs.size());
        int32_t status = kOk;
        for (const Array& array : chain.inputs) inputs_.emplace_back(kernels_, chain.shape, array, threads, status);
        status_ = status;
    }

    int32_t result() {
        const int64_t total = product(chain_.shape);
        const bool stream = sizeof(Code) == 2 && total >= kStreamElements;
        const int64_t lead = stream ? lead_of_outputs() : 0;
        parallel_for((total - lead + kTaskElements - 1) / kTaskElements, threads_, [&](int64_t task) {
            const int64_t begin = lead + task * kTaskElements;
            int32_t status = task == 0 ? range(0, lead, false) : kOk;
            status |= range(begin, std::min(total, begin + kTaskElements), stream);
            if (status) status_ |= status;
            if (stream) store_fence();
        });
        return status_;
    }

private:
    static constexpr int64_t kChunk = Kernels<Code>::kChunk;

    // Elements before the first dense output of floats reaches a place where streaming may begin.
    int64_t lead_of_outputs() const {
        for (const Array& array : chain_.outputs) {
            if (array.kind != Kind::float32 || !is_dense(chain_.shape, array.strides)) continue;
            const auto beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(array.data) % kStreamAlign);
            return (kStreamAlign - beyond) % kStreamAlign / static_cast<int64_t>(sizeof(float));
        }
        return 0;
    }

    int32_t range(int64_t begin, int64_t end, bool stream) const {
        const Program& program = *chain_.program;
        char* memory = workspace(program.registers * (kRegisterBytes + sizeof(const Code*)));
        Code* rooms = reinterpret_cast<Code*>(memory);
        auto at = reinterpret_cast<const Code**>(memory + program.registers * kRegisterBytes);
        auto room = [&](int32_t r) { return rooms + r * kChunk; };
        int32_t status = kOk;
        for (; begin < end; begin += kChunk) {
            const int64_t n = std::min(kChunk, end - begin);
            for (int32_t i = 0; i < program.inputs; ++i) at[i] = inputs_[i].load(begin, n, room(i), status);
            for (const ChainStep& step : program.steps) {
                const int32_t* table = step.op == Op::lookup ? chain_.tables[step.table] : nullptr;
                status |= kernels_.apply(step.op, at[step.a], at[step.b], at[step.c], table, n, room(step.out));
                at[step.out] = room(step.out);
            }
            for (size_t i = 0; i < program.outputs.size(); ++i)
                store(chain_, kernels_, chain_.outputs[i], begin, n, at[program.outputs[i]], stream);
        }
        return status;
    }

    const Chain& chain_;
    const Kernels<Code> kernels_;
    const int threads_;
    std::vector<Input<Code>> inputs_;
    std::atomic<int32_t> status_{kOk};
};

}  // namespace

int32_t run_chain(Chain chain, int threads) {
    for (int64_t size : chain.shape)
        if (size == 0) return kOk;
    coalesce(chain);
    const bool narrow = has_narrow_kernels(*chain.arithmetic);
    return narrow ? Run<int16_t>(chain, threads).result() : Run<int32_t>(chain, threads).result();
}

}  // namespace slipstick
