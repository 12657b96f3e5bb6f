// What any contraction takes from Python: index lists, and where operands lie. Included by the drivers.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

#include "buffers.h"

namespace slipstick {

namespace nb = nanobind;

namespace {

using Longs = std::vector<int64_t>;

// (size, stride, ...) per dimension, as Python hands them over, one after another.
inline Longs flat(nb::handle dims) {
    Longs numbers;
    for (nb::handle dim : dims)
        for (nb::handle number : dim) numbers.push_back(nb::cast<int64_t>(number));
    return numbers;
}

// Offsets of all index tuples of a list of dimensions, row-major; `field` chooses one of a dimension's strides.
class Dims {
public:
    // Flat list of size, stride, stride, ... per dimension.
    Dims(const Longs& flat, int strides) : strides_(strides), flat_(flat) {}

    int64_t size() const {
        int64_t product = 1;
        for (size_t i = 0; i < flat_.size(); i += strides_ + 1) product *= flat_[i];
        return product;
    }

    Longs offsets(int field) const {
        Longs made{0};
        for (size_t i = 0; i < flat_.size(); i += strides_ + 1) {
            const int64_t size = flat_[i], stride = flat_[i + 1 + field];
            Longs next;
            next.reserve(made.size() * size);
            for (int64_t base : made)
                for (int64_t j = 0; j < size; ++j) next.push_back(base + j * stride);
            made = std::move(next);
        }
        return made;
    }

private:
    int strides_;
    const Longs& flat_;
};

// A tensor and the place of its codes: base + sum of index * to-stride in a buffer of `total` codes; gaps are zero.
struct Operand {
    enum Kind {
        float32 = 0,
        float64 = 1,
        ones = 2,
        signed_logs = 3,
        codes = 4,  // int16, in the operand's format, in the order that they are wanted in
    };

    Kind kind;
    const void* data;
    int64_t base, total;
    Longs sizes, from, to;  // strides in elements

    // kind, data, base, total, then size, from, to per dimension.
    explicit Operand(const Longs& flat)
        : kind(static_cast<Kind>(flat.at(0))), data(reinterpret_cast<const void*>(flat.at(1))), base(flat.at(2)),
          total(flat.at(3)) {
        for (size_t i = 4; i + 2 < flat.size(); i += 3) {
            const int64_t size = flat[i], source = flat[i + 1], target = flat[i + 2];
            if (size == 1) continue;
            if (!sizes.empty() && from.back() == source * size && to.back() == target * size) {
                sizes.back() *= size;
                from.back() = source;
                to.back() = target;
            } else {
                sizes.push_back(size);
                from.push_back(source);
                to.push_back(target);
            }
        }
        if (sizes.empty()) {
            sizes.push_back(1);
            from.push_back(1);
            to.push_back(1);
        }
    }

    int64_t count() const {
        int64_t product = 1;
        for (int64_t size : sizes) product *= size;
        return product;
    }
};

}  // namespace

}  // namespace slipstick
