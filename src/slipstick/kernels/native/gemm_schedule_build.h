// Building schedules. Included by gemm.cpp only.
#pragma once

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "gemm_schedule.h"

namespace slipstick {

namespace {

constexpr int64_t kChunkTarget = 256;  // terms of a chunk that keep a packed panel of B in the second-level cache
constexpr int64_t kChunkLimit = 1024;

// Walks a tree that folds `count` leaves by halves, digit by digit of radix 2^digit_bits. "i with i + radix/2" first
// means that the lowest bit of the top digit splits the root. visit(leaf) and merge() are called in depth-first order.
template <typename Visit, typename Merge>
class FoldWalk {
public:
    FoldWalk(int digit_bits, int64_t count, Visit visit, Merge merge) : count_(count), visit_(visit), merge_(merge) {
        int digits = 0;
        for (int64_t reach = 1; reach < count; reach <<= digit_bits) ++digits;
        for (int digit = digits - 1; digit >= 0; --digit)
            for (int bit = 0; bit < digit_bits; ++bit) bits_.push_back(int64_t{1} << (digit * digit_bits + bit));
        walk(0, 0);
    }

private:
    // Missing leaves are zeros, the identity: a node without its partner passes through. Returns whether one exists.
    bool walk(size_t depth, int64_t leaf) {
        if (leaf >= count_) return false;
        if (depth == bits_.size()) {
            visit_(leaf);
            return true;
        }
        walk(depth + 1, leaf);
        if (walk(depth + 1, leaf + bits_[depth])) merge_();
        return true;
    }

    int64_t count_;
    Visit visit_;
    Merge merge_;
    std::vector<int64_t> bits_;
};

template <typename Visit, typename Merge>
void fold(int digit_bits, int64_t count, Visit visit, Merge merge) {
    FoldWalk<Visit, Merge>(digit_bits, count, visit, merge);
}

inline int log2_exact(int64_t value) {
    int bits = 0;
    while ((int64_t{1} << bits) < value) ++bits;
    return bits;
}

inline int32_t stack_depth(const std::vector<Step>& steps) {
    int32_t depth = 0, deepest = 1;
    for (const Step& step : steps) {
        deepest = std::max(deepest, ++depth);
        depth -= step.merges;
    }
    return deepest;
}

// Joins leaves that are added to each other at once into pairs and fours, which stay in registers.
inline void join_leaves(std::vector<Step>& steps) {
    std::vector<Step> joined;
    for (Step step : steps) {
        while (step.merges > 0 && !joined.empty()) {
            Step& left = joined.back();
            if (left.merges != 0 || left.terms != step.terms || step.terms > 2) break;
            Step both{{left.k[0], 0, 0, 0}, 2 * step.terms, step.merges - 1};
            for (int i = 0; i < step.terms; ++i) {
                both.k[i] = left.k[i];
                both.k[step.terms + i] = step.k[i];
            }
            joined.pop_back();
            step = both;
        }
        joined.push_back(step);
    }
    steps = std::move(joined);
}

// Lets the terms lie in memory as they are visited.
inline void renumber(ChunkOrder& order) {
    int32_t visited = 0;
    for (Step& step : order.steps)
        for (int i = 0; i < step.terms; ++i) {
            order.visits[visited] = step.k[i];
            order.places[step.k[i]] = visited;
            step.k[i] = visited++;
        }
}

inline void mark_wholes(std::vector<Step>& steps) {
    for (size_t i = 0; i + 3 < steps.size(); ++i) {
        const auto four = [&](size_t j, int merges) { return steps[j].terms == 4 && steps[j].merges == merges; };
        if (!four(i, 0) || !four(i + 1, 1) || !four(i + 2, 0) || steps[i + 3].terms != 4 || steps[i + 3].merges < 2)
            continue;
        for (size_t j = i; j < i + 4; ++j) steps[j].whole = true;
    }
}

class ScheduleBuilder {
public:
    ScheduleBuilder(const Order& order, int64_t terms) : order_(order), terms_(terms) {
        if (terms < 1) throw std::invalid_argument("a schedule needs at least one term");
        made_ = std::make_shared<Schedule>();
        if (order.kind == OrderKind::tree)
            tree();
        else
            runs(order.kind == OrderKind::sequential ? terms : order.size);
        int32_t depth = 0;
        for (const Chunk& chunk : made_->chunks) {
            if (!chunk.order->resume) ++depth;
            made_->depth = std::max(made_->depth, depth);
            depth -= chunk.merges;
            made_->chunk_length = std::max(made_->chunk_length, chunk.order->length);
        }
    }

    std::shared_ptr<const Schedule> result() const { return made_; }

private:
    void tree() {
        const int bits = log2_exact(order_.size);
        int64_t length = order_.size;
        while ((length << bits) <= kChunkLimit && length < kChunkTarget) length <<= bits;
        outer(bits, length, [&](int64_t k0, int64_t count) { return Chunk{k0, tree_chunk(bits, count), 0}; });
    }

    // Blocks summed one term after the other; block sums by a tree of radix 16.
    void runs(int64_t length) {
        int64_t blocks = 1;
        while (blocks * 16 * length <= kChunkTarget) blocks *= 16;
        if (length <= kChunkLimit)
            outer(4, blocks * length,
                  [&](int64_t k0, int64_t count) { return Chunk{k0, run_chunk(length, count), 0}; });
        else
            long_runs(length);
    }

    template <typename MakeChunk>
    void outer(int digit_bits, int64_t length, MakeChunk make) {
        fold(digit_bits, (terms_ + length - 1) / length,
             [&](int64_t i) {
                 made_->chunks.push_back(make(i * length, std::min(length, terms_ - i * length)));
             },
             [&] { ++made_->chunks.back().merges; });
    }

    // A block longer than a chunk is cut; every piece but the first goes on where the one before stopped.
    void long_runs(int64_t length) {
        constexpr int64_t kPiece = 512;
        fold(4, (terms_ + length - 1) / length,
             [&](int64_t block) {
                 const int64_t end = std::min(terms_, (block + 1) * length);
                 for (int64_t k0 = block * length; k0 < end; k0 += kPiece) {
                     const int64_t count = std::min(kPiece, end - k0);
                     made_->chunks.push_back({k0, run_chunk(count, count, k0 > block * length), 0});
                 }
             },
             [&] { ++made_->chunks.back().merges; });
    }

    ChunkOrder* known(int64_t count, bool resume) {
        for (auto& order : made_->orders)
            if (order->length == count && order->resume == resume) return order.get();
        return nullptr;
    }

    ChunkOrder* fresh(int64_t count, bool resume) {
        made_->orders.push_back(std::make_unique<ChunkOrder>());
        ChunkOrder* order = made_->orders.back().get();
        order->length = static_cast<int32_t>(count);
        order->resume = resume;
        order->run_position.assign(count, 0);
        order->visits.resize(count);
        std::iota(order->visits.begin(), order->visits.end(), 0);
        order->places = order->visits;
        return order;
    }

    const ChunkOrder* tree_chunk(int bits, int64_t count) {
        if (ChunkOrder* order = known(count, false)) return order;
        ChunkOrder* order = fresh(count, false);
        fold(bits, count,
             [&](int64_t k) { order->steps.push_back({{static_cast<int32_t>(k), 0, 0, 0}, 1, 0}); },
             [&] { ++order->steps.back().merges; });
        order->levels = log2_exact(order_.size) * ((log2_exact(count) + bits - 1) / bits);
        join_leaves(order->steps);
        renumber(*order);
        mark_wholes(order->steps);
        order->depth = stack_depth(order->steps);
        return order;
    }

    const ChunkOrder* run_chunk(int64_t length, int64_t count, bool resume = false) {
        if (ChunkOrder* order = known(count, resume)) return order;
        ChunkOrder* order = fresh(count, resume);
        fold(4, (count + length - 1) / length,
             [&](int64_t block) {
                 const int64_t k0 = block * length, k1 = std::min(count, k0 + length);
                 order->steps.push_back({{static_cast<int32_t>(k0), static_cast<int32_t>(k1), 0, 0}, 0, 0});
                 // Without an accumulator to resume the first term is not added to anything.
                 const int64_t first = resume ? k0 : k0 + 1;
                 for (int64_t k = first; k < k1; ++k)
                     order->run_position[k] = static_cast<uint8_t>((k - first) % kRunPeriod);
             },
             [&] { ++order->steps.back().merges; });
        order->depth = stack_depth(order->steps);
        order->levels = 1 + 4 * ((log2_exact((count + length - 1) / length) + 3) / 4);
        return order;
    }

    Order order_;
    int64_t terms_;
    std::shared_ptr<Schedule> made_;
};

}  // namespace

// The last of every thread is kept: a training step asks for the same few, small products for little else.
std::shared_ptr<const Schedule> make_schedule(const Order& order, int64_t terms) {
    thread_local Order last_order{};
    thread_local int64_t last_terms = 0;
    thread_local std::shared_ptr<const Schedule> last;
    if (!last || last_terms != terms || last_order.kind != order.kind || last_order.size != order.size) {
        last = ScheduleBuilder(order, terms).result();
        last_order = order;
        last_terms = terms;
    }
    return last;
}

}  // namespace slipstick
