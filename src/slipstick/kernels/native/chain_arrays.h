// How a chain walks through its arrays. Included by chain.cpp only.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#include "chain.h"

namespace slipstick {

namespace {

using Longs = std::vector<int64_t>;

inline int64_t product(const Longs& sizes, size_t from = 0) {
    return std::accumulate(sizes.begin() + from, sizes.end(), int64_t{1}, std::multiplies<>());
}

// Whether elements follow each other in memory as they do in the iteration space.
inline bool is_dense(const Longs& shape, const Longs& strides) {
    int64_t below = 1;
    for (size_t d = shape.size(); d-- > 0; below *= shape[d])
        if (strides[d] != below) return false;
    return true;
}

// Reorders dimensions by the first output's strides and merges those that are contiguous in every array.
inline void coalesce(Chain& chain) {
    std::vector<Array*> arrays;
    for (Array& array : chain.outputs) arrays.push_back(&array);
    for (Array& array : chain.inputs)
        if (array.kind != Kind::constant) arrays.push_back(&array);
    std::vector<size_t> order;
    for (size_t d = 0; d < chain.shape.size(); ++d)
        if (chain.shape[d] != 1) order.push_back(d);
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) {
        return chain.outputs[0].strides[i] > chain.outputs[0].strides[j];
    });
    Longs shape;
    std::vector<Longs> strides(arrays.size());
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
    Runs(const Longs& shape, int64_t begin) : shape_(shape), index_(shape.size()) {
        for (size_t d = shape.size(); d-- > 0;) {
            index_[d] = begin % shape[d];
            begin /= shape[d];
        }
    }

    template <typename Visit>
    void take(int64_t count, const Longs& strides, Visit visit) {
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
    const Longs& shape_;
    Longs index_;
};

// Elements [begin, begin + n): where they lie, or gathered in `room`.
template <typename T>
const T* fetch(const Longs& shape, const T* data, const Longs& strides, int64_t begin, int64_t n, T* room) {
    if (is_dense(shape, strides)) return data + begin;
    const int64_t stride = strides.back();
    Runs(shape, begin).take(n, strides, [&](int64_t at, int64_t offset, int64_t length) {
        const T* from = data + offset;
        if (stride == 1)
            std::memcpy(room + at, from, length * sizeof(T));
        else if (stride == 0)
            std::fill_n(room + at, length, *from);
        else
            for (int64_t i = 0; i < length; ++i) room[at + i] = from[i * stride];
    });
    return room;
}

template <typename T>
void scatter(const Longs& shape, T* data, const Longs& strides, int64_t begin, int64_t n, const T* values) {
    const int64_t stride = strides.back();
    if (is_dense(shape, strides)) {
        std::copy_n(values, n, data + begin);
        return;
    }
    Runs(shape, begin).take(n, strides, [&](int64_t at, int64_t offset, int64_t length) {
        for (int64_t i = 0; i < length; ++i) data[offset + i * stride] = values[at + i];
    });
}

}  // namespace

}  // namespace slipstick
