// The order of a sum as data: which terms in which sequence, and how many partial sums are merged after each.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "arithmetic.h"

namespace slipstick {

// Pushes one partial sum on the stack, then merges the two topmost `merges` times.
// terms 1, 2, 4: a leaf, a pair, ((k0 + k1) + (k2 + k3)). terms 0: the run k[0] <= k < k[1], one after the other.
// whole: one of four steps of 4 terms that make a balanced tree of 16, done with the second merge of the last.
struct Step {
    int32_t k[4];
    int32_t terms;
    int32_t merges;
    bool whole = false;
};

// The order inside one chunk of consecutive k.
struct ChunkOrder {
    int32_t length = 0;
    bool resume = false;  // continues the run that the chunk before left unfinished
    int32_t depth = 1;    // of the stack
    int32_t levels = 0;   // additions on the longest path from a term to the chunk's sum, a run counting as one
    std::vector<Step> steps;          // whose k are places in `visits`
    std::vector<int32_t> visits;      // the chunk's k in the order in which the steps take them, and packing lays them
    std::vector<int32_t> places;      // where in `visits` each k is
    std::vector<uint8_t> run_position;  // additions since the accumulator was last freed of its bias, per visit
};

// A chunk leaves one partial sum on the outer stack (or continues the topmost), then merges as a Step does.
struct Chunk {
    int64_t k0;
    const ChunkOrder* order;
    int32_t merges;
};

struct Schedule {
    std::vector<Chunk> chunks;
    std::vector<std::unique_ptr<ChunkOrder>> orders;
    int32_t depth = 1;
    int32_t chunk_length = 0;  // the longest
};

// Runs subtract a bias at every addition and put it back after this many (see gemm_bytes.h).
constexpr int kRunPeriod = 32;

// Throws std::invalid_argument where terms < 1.
std::shared_ptr<const Schedule> make_schedule(const Order& order, int64_t terms);

}  // namespace slipstick
