// How the inputs of a chain reach its registers. Included by chain.cpp only.
#pragma once

#include <atomic>

#include "buffers.h"
#include "chain_arrays.h"
#include "code_kernels.h"
#include "threads.h"

namespace slipstick {

namespace {

constexpr int64_t kTaskElements = 1 << 14;  // enough work to pay for waking a thread

// One input as codes, chunk by chunk. What is broadcast is encoded once, before the first chunk.
template <typename Code>
class Input {
public:
    static constexpr int64_t kChunk = Kernels<Code>::kChunk;

    // `status` receives what encoding finds.
    Input(const Kernels<Code>& kernels, const Longs& shape, const Array& array, int threads, int32_t& status)
        : kernels_(kernels), shape_(shape), array_(array) {
        const int64_t total = product(shape);
        if (array.kind == Kind::constant) {
            const int64_t count = std::min(total, kChunk);
            hold(count);
            std::fill_n(held(), count, static_cast<Code>(array.constant));
        } else if (total >= kFewest && (array.kind == Kind::float32 || array.kind == Kind::float64)) {
            encode_broadcast(total, threads, status);
        }
    }

    // Elements [begin, begin + n), n <= kChunk: where their codes lie, in `room` unless they are there already.
    const Code* load(int64_t begin, int64_t n, Code* room, int32_t& status) const {
        if (period_ > 0) return held() + begin % period_;
        if (!strides_.empty()) return fetch(shape_, held(), strides_, begin, n, room);
        switch (array_.kind) {
            case Kind::float32:
            case Kind::float64: status |= encode(shape_, array_.strides, begin, n, room); return room;
            case Kind::boolean: return truths(begin, n, room);
            case Kind::codes: return codes(begin, n, room);
            case Kind::constant: break;
        }
        return held();
    }

private:
    static constexpr int64_t kFewest = 1 << 12;     // elements that make it worth while to look for repetitions
    static constexpr int64_t kLongest = 1 << 14;    // codes of a period, which stay in the second-level cache

    Code* held() const { return reinterpret_cast<Code*>(held_.get()); }
    void hold(int64_t count) { held_ = allocate(count * sizeof(Code)); }

    // Encodes each element of the array once where that saves three quarters of the work, and repeats them as codes:
    // from a whole period of them, or at every chunk.
    void encode_broadcast(int64_t total, int threads, int32_t& status) {
        Longs sizes, strides;
        for (size_t d = 0; d < shape_.size(); ++d)
            if (array_.strides[d] != 0) {
                sizes.push_back(shape_[d]);
                strides.push_back(array_.strides[d]);
            }
        const int64_t distinct = product(sizes);
        if (distinct > total / 4) return;
        if (sizes.empty()) {
            sizes.push_back(1);
            strides.push_back(1);
        }
        hold(distinct);
        encode_all(sizes, strides, distinct, threads, status);
        strides_.assign(shape_.size(), 0);
        int64_t below = 1;
        for (size_t d = shape_.size(); d-- > 0;)
            if (array_.strides[d] != 0) {
                strides_[d] = below;
                below *= shape_[d];
            }
        repeat(total);
    }

    void encode_all(const Longs& sizes, const Longs& strides, int64_t count, int threads, int32_t& status) {
        std::atomic<int32_t> seen{kOk};
        parallel_for((count + kTaskElements - 1) / kTaskElements, threads, [&](int64_t task) {
            const int64_t end = std::min(count, (task + 1) * kTaskElements);
            int32_t found = kOk;
            for (int64_t i = task * kTaskElements; i < end; i += kChunk) {
                found |= encode(sizes, strides, i, std::min(kChunk, end - i), held() + i);
            }
            seen |= found;
        });
        status |= seen;
    }

    // A period, and a chunk more, so that every chunk of it lies together.
    void repeat(int64_t total) {
        size_t first = 0;
        while (first < shape_.size() && strides_[first] == 0) ++first;
        const int64_t period = product(shape_, first), count = period + kChunk;
        if (period > kLongest || 2 * count > total) return;
        const Buffer once = std::move(held_);
        hold(count);
        for (int64_t i = 0; i < count; i += kChunk) {
            const int64_t n = std::min(kChunk, count - i);
            const Code* codes = reinterpret_cast<const Code*>(once.get());
            const Code* at = fetch(shape_, codes, strides_, i, n, held() + i);
            if (at != held() + i) std::copy_n(at, n, held() + i);
        }
        period_ = period;
    }

    // The array's numbers, in the order of a shape and strides.
    int32_t encode(const Longs& shape, const Longs& strides, int64_t begin, int64_t n, Code* to) const {
        return array_.kind == Kind::float32 ? encode_as<float>(shape, strides, begin, n, to)
                                            : encode_as<double>(shape, strides, begin, n, to);
    }

    template <typename T>
    int32_t encode_as(const Longs& shape, const Longs& strides, int64_t begin, int64_t n, Code* to) const {
        T numbers[kChunk];
        const T* data = reinterpret_cast<const T*>(array_.data);
        return kernels_.encode(fetch(shape, data, strides, begin, n, numbers), n, to);
    }

    const Code* truths(int64_t begin, int64_t n, Code* room) const {
        uint8_t flags[kChunk];
        const auto* data = reinterpret_cast<const uint8_t*>(array_.data);
        const uint8_t* x = fetch(shape_, data, array_.strides, begin, n, flags);
        for (int64_t i = 0; i < n; ++i) room[i] = x[i] != 0;
        return room;
    }

    const Code* codes(int64_t begin, int64_t n, Code* room) const {
        const auto* data = reinterpret_cast<const int16_t*>(array_.data);
        if constexpr (sizeof(Code) == sizeof(int16_t)) {
            return fetch(shape_, data, array_.strides, begin, n, room);
        } else {
            int16_t narrow[kChunk];
            std::copy_n(fetch(shape_, data, array_.strides, begin, n, narrow), n, room);
            return room;
        }
    }

    const Kernels<Code>& kernels_;
    const Longs& shape_;
    const Array& array_;
    Buffer held_;
    Longs strides_;       // of the codes held, where they are neither a constant's nor a period
    int64_t period_ = 0;  // of the codes held, 0 where there is none
};

}  // namespace

}  // namespace slipstick
