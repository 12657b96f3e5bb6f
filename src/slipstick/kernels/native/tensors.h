// PyTorch tensors, read through DLPack's table of functions: no link against libtorch, one build for every torch.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "buffers.h"
#include "chain.h"

namespace slipstick {

namespace nb = nanobind;

// Fills the view from a Python tensor without owning anything; not 0, and a Python error, where it has no memory.
using ReadTensor = int (*)(void* tensor, nb::dlpack::dltensor* view);

struct TensorView {
    Kind kind;
    char* data;
    std::vector<int64_t> shape, strides;  // strides in elements
};

// Numbers as codes, in some order of memory without gaps: what one kernel hands to the next, no floats between.
struct CodeArray {
    std::vector<int64_t> shape, strides;
    Buffer codes;  // int16

    TensorView view() const { return {Kind::codes, codes.get(), shape, strides}; }
};

// What of PyTorch the kernels know: its tensors, three of its number types, how to read a tensor and to ask for memory.
struct Torch {
    nb::object tensor, float32, float64, boolean, empty_like, empty_strided;
    ReadTensor read;  // null where this PyTorch has no such function: then nothing is quick

    bool is_tensor(nb::handle x) const;
    static bool is_codes(nb::handle x) { return nb::isinstance<CodeArray>(x); }

    // Bits 1: tensors that carry codes, 2: floating ones that carry none, are among `items` and lists and tuples in it.
    int floats(nb::handle items) const;

    // Of a tensor or of codes. Nothing where the kernels cannot reach the tensor: another device, another number type, no memory of its own.
    std::optional<TensorView> view(nb::handle x) const;

    // A tensor of the shape and memory order of `like`, of its own type or of booleans; float32 where `like` has codes.
    nb::object fresh(nb::handle like, bool is_mask) const;

    // A contiguous tensor of float32.
    nb::object fresh(const std::vector<int64_t>& shape) const;
};

// Whether writing `out` element by element could spoil elements of `x` not yet read. Says yes to be safe.
bool spoils(const TensorView& out, const TensorView& x);

// Codes not yet written, in the memory order of `like` where that has an order.
CodeArray fresh_codes(const TensorView& like);

// The codes of a tensor in its own memory order, without gaps; broadcast dimensions stay broadcast.
struct Dense {
    std::vector<int64_t> description;  // what `Operand` reads
    std::vector<int64_t> strides;      // of the codes
};
Dense dense_of(const TensorView& view);

}  // namespace slipstick
