// The same sums by fused multiply-adds of floats, exactly.
//
// A float between 2^23 and 2^24 is an integer, and adding a product to it rounds the sum once, to an integer: that is
// the accumulator plus the product rounded to the nearest integer. So an accumulator that starts at 1.5 * 2^23 counts
// integer terms, as long as it stays within 2^22 of where it started; after that many terms it moves to int32.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "gemm_simd.h"
#include "linear.h"

namespace slipstick {
namespace SLIPSTICK_ISA {

namespace {

#if defined(SLIPSTICK_ISA_avx512)

struct Floats {
    using V = __m512;
    using Bits = __m512i;
    static constexpr int kLanes = 16, kTileRows = 12, kTileVectors = 2, kVersionRows = 6, kVersionVectors = 4;
    SLIPSTICK_INLINE static V load(const float* p) { return _mm512_loadu_ps(p); }
    SLIPSTICK_INLINE static void store(float* p, V x) { _mm512_storeu_ps(p, x); }
    SLIPSTICK_INLINE static V all(float x) { return _mm512_set1_ps(x); }
    SLIPSTICK_INLINE static V multiply_add(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
    SLIPSTICK_INLINE static Bits bits(V x) { return _mm512_castps_si512(x); }
    SLIPSTICK_INLINE static V number(Bits x) { return _mm512_castsi512_ps(x); }
#if defined(SLIPSTICK_EMULATED)  // SIMDe lacks the conversion
    SLIPSTICK_INLINE static Bits widen(const int16_t* p) {
        int32_t wide[kLanes];
        std::copy(p, p + kLanes, wide);
        return _mm512_loadu_si512(wide);
    }
#else
    SLIPSTICK_INLINE static Bits widen(const int16_t* p) {
        return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
#endif
    SLIPSTICK_INLINE static Bits abs(Bits x) { return _mm512_abs_epi32(x); }
    template <int kBits>
    SLIPSTICK_INLINE static Bits up(Bits x) { return _mm512_slli_epi32(x, kBits); }
    SLIPSTICK_INLINE static Bits down(Bits x, int bits) { return _mm512_srl_epi32(x, _mm_cvtsi32_si128(bits)); }
    // table[i mod 16], a table of kLanes
    SLIPSTICK_INLINE static Bits permute(Bits table, Bits i) { return _mm512_permutexvar_epi32(i, table); }
    SLIPSTICK_INLINE static bool any_above(Bits x, Bits limit) { return _mm512_cmpgt_epi32_mask(x, limit) != 0; }
};

#else

struct Floats {
    using V = __m256;
    using Bits = __m256i;
    static constexpr int kLanes = 8, kTileRows = 6, kTileVectors = 2, kVersionRows = 4, kVersionVectors = 3;
    SLIPSTICK_INLINE static V load(const float* p) { return _mm256_loadu_ps(p); }
    SLIPSTICK_INLINE static void store(float* p, V x) { _mm256_storeu_ps(p, x); }
    SLIPSTICK_INLINE static V all(float x) { return _mm256_set1_ps(x); }
    SLIPSTICK_INLINE static V multiply_add(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
    SLIPSTICK_INLINE static Bits bits(V x) { return _mm256_castps_si256(x); }
    SLIPSTICK_INLINE static V number(Bits x) { return _mm256_castsi256_ps(x); }
    SLIPSTICK_INLINE static Bits widen(const int16_t* p) {
        return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    SLIPSTICK_INLINE static Bits abs(Bits x) { return _mm256_abs_epi32(x); }
    template <int kBits>
    SLIPSTICK_INLINE static Bits up(Bits x) { return _mm256_slli_epi32(x, kBits); }
    SLIPSTICK_INLINE static Bits down(Bits x, int bits) { return _mm256_srl_epi32(x, _mm_cvtsi32_si128(bits)); }
    // table[i mod 8], a table of kLanes
    SLIPSTICK_INLINE static Bits permute(Bits table, Bits i) { return _mm256_permutevar8x32_epi32(table, i); }
    SLIPSTICK_INLINE static bool any_above(Bits x, Bits limit) {
        return _mm256_movemask_epi8(_mm256_cmpgt_epi32(x, limit)) != 0;
    }
};

#endif

// Integers count from here: the middle of the floats whose last bit weighs 1.
constexpr float kOrigin = 1.5f * (1 << 23);
constexpr int32_t kReach = (1 << 22) - 1;

// The rounding mode and the treatment of subnormals that the exactness rests on, for as long as this object lives.
class DefaultFloats {
public:
    DefaultFloats() : before_(_mm_getcsr()) { _mm_setcsr(0x1F80); }
    ~DefaultFloats() { _mm_setcsr(before_); }
    DefaultFloats(const DefaultFloats&) = delete;
    DefaultFloats& operator=(const DefaultFloats&) = delete;

private:
    unsigned before_;
};

// kVersions: the right numbers depend on the left ones, and are loaded anew for each.
template <bool kVersions>
class FloatSums {
public:
    using F = Floats;
    using I = Int32;
    static constexpr int kRows = kVersions ? F::kVersionRows : F::kTileRows;
    static constexpr int kVectors = kVersions ? F::kVersionVectors : F::kTileVectors;
    static constexpr int kColumns = kVectors * F::kLanes;
    static constexpr int64_t kShortest = 8, kLongest = 256;  // terms of a chunk
    static constexpr int64_t kPanelBytes = 24 * 1024;
    static constexpr int64_t kRowsAhead = 4;  // prefetched while one is packed

    // How many terms are summed in floats at a time; 0 where the path does not exist.
    static int64_t chunk_length(const LinearPlan& plan) {
        if (plan.versions == 0) return 0;
        const int64_t reach = std::min<int64_t>(kReach, plan.saturate ? plan.top() / 2 : kReach);
        const int64_t panel = kPanelBytes / (4 * kColumns * plan.versions);
        const int64_t length = std::min({reach / plan.largest_term, std::max<int64_t>(panel, 16), kLongest});
        return length < kShortest ? 0 : length;
    }

    static size_t workspace_bytes(const LinearBlock& block) {
        const size_t length = chunk_length(*block.plan), rows = padded_rows(block);
        const size_t factors = length * rows + block.plan->left.size();
        return sizeof(float) * length * kColumns * block.plan->versions + sizeof(Factor) * factors + tiles(block);
    }

    FloatSums(const LinearBlock& block, int64_t length)
        : block_(block), plan_(*block.plan), length_(length), rows_(padded_rows(block)) {
        right_ = reinterpret_cast<float*>(block.workspace);
        left_ = reinterpret_cast<Factor*>(right_ + length_ * kColumns * plan_.versions);
        factors_ = left_ + length_ * rows_;
        left_early_ = reinterpret_cast<bool*>(factors_ + plan_.left.size());
        fill_factors();
        std::fill(left_early_, left_early_ + tiles(block), false);
        std::fill(block.out, block.out + rows_ * block.out_stride, 0);
        // Where the sum is this close to an end of the accumulator, a term within the chunk may have reached it.
        const bool reachable = plan_.saturate && block.terms * int64_t{plan_.largest_term} > plan_.top();
        limit_ = reachable ? plan_.top() - static_cast<int32_t>(length * plan_.largest_term) : INT32_MAX;
    }

    // Fills block.out; `early` says of a tile of kRows x kColumns outputs whether an addition may have been stopped.
    void run() {
        const DefaultFloats guard;
        for (int64_t first = 0; first < block_.terms; first += length_) {
            const int64_t count = std::min(length_, block_.terms - first);
            pack_left(first, count);
            for (int column = 0; column < block_.columns; column += kColumns) {
                pack_right(column, first, count);
                for (int row = 0; row < block_.rows; row += kRows) {
                    int32_t* out = block_.out + int64_t{row} * block_.out_stride + column;
                    if (tile(row, count, out)) left_early_[tile_index(row, column)] = true;
                }
            }
        }
    }

    bool early(int row, int column) const { return left_early_[tile_index(row, column)]; }

private:
    struct Number {
        float number;
    };
    struct NumberAndVersion {
        float number;
        int32_t offset;  // of the version, from the first
    };
    using Factor = std::conditional_t<kVersions, NumberAndVersion, Number>;

    void fill_factors() {
        for (size_t i = 0; i < plan_.left.size(); ++i) {
            factors_[i].number = plan_.left[i];
            if constexpr (kVersions) {
                const int32_t log = std::abs(static_cast<int32_t>(i) - plan_.largest - 1) - 1;
                factors_[i].offset = log < 0 ? 0 : (log & (plan_.versions - 1)) * kColumns;
            }
        }
    }

    static int64_t padded_rows(const LinearBlock& block) { return (block.rows + kRows - 1) / kRows * kRows; }
    static size_t tiles(const LinearBlock& block) { return padded_rows(block) / kRows * (block.out_stride / kColumns); }
    size_t tile_index(int row, int column) const {
        return static_cast<size_t>(row / kRows) * (block_.out_stride / kColumns) + column / kColumns;
    }

    // [tile of rows][k][row]: the factor of each operand.
    void pack_left(int64_t first, int64_t count) {
        const Factor* factors = factors_ + plan_.largest + 1;
        const int64_t* terms = block_.a_terms + first;
        for (int64_t row = 0; row < rows_; ++row) {
            Factor* to = left_ + row / kRows * kRows * length_ + row % kRows;
            if (row >= block_.rows) {
                for (int64_t k = 0; k < count; ++k) to[k * kRows] = factors[0];
                continue;
            }
            const int16_t* a = block_.a + block_.a_rows[row];
            const int16_t* later = block_.a + block_.a_rows[std::min<int64_t>(row + kRowsAhead, block_.rows - 1)];
            for (int64_t k = 0; k < count; k += 64 / sizeof(int16_t)) __builtin_prefetch(later + terms[k]);
            for (int64_t k = 0; k < count; ++k) {
                int64_t code = a[terms[k]];
                asm("" : "+r"(code));  // one by one: gathered by eight this is slower
                to[k * kRows] = factors[code];
            }
        }
    }

    // [k][version][column]
    void pack_right(int column, int64_t first, int64_t count) {
        if ((1 << plan_.fraction) <= F::kLanes)
            pack_right<true>(column, first, count);
        else
            pack_right<false>(column, first, count);
    }

    // kPermute: the constants of a version fit a vector.
    template <bool kPermute>
    __attribute__((noinline)) void pack_right(int column, int64_t first, int64_t count) {
        const int64_t* places = block_.b_columns + column;
        const int valid = std::min(kColumns, block_.columns - column);
        const bool together = valid == kColumns && places[kColumns - 1] - places[0] == kColumns - 1;
        const Unpacker<kPermute> unpacker(plan_);
        float* out = right_;
        for (int64_t k = 0; k < count; ++k, out += kColumns * unpacker.versions) {
            const int16_t* b = block_.b + block_.b_terms[first + k];
            int16_t codes[kColumns] = {};
            const int16_t* line = codes;
            if (together) {
                line = b + places[0];
            } else {
                for (int j = 0; j < valid; ++j) codes[j] = b[places[j]];
            }
            for (int i = 0; i < kVectors; ++i) unpacker.run(F::widen(line + i * F::kLanes), out + i * F::kLanes);
        }
    }

    // The floats of F::kLanes operands in every version. Its members are copies: stores through a vector type might
    // otherwise change the plan, for all that the compiler knows.
    template <bool kPermute>
    struct Unpacker {
        int versions, fraction;
        const int32_t* table;
        F::Bits mask, constants;

        explicit Unpacker(const LinearPlan& plan)
            : versions(kVersions ? plan.versions : 1), fraction(plan.fraction),
              table(reinterpret_cast<const int32_t*>(plan.remainders.data())), mask(I::all((1 << plan.fraction) - 1)),
              constants(I::load(table)) {}

        SLIPSTICK_INLINE void run(F::Bits codes, float* out) const {
            const F::Bits sign = I::bit_and(codes, I::all(INT32_MIN));
            const F::Bits log = I::sub(F::abs(codes), I::all(1));  // -1: zero
            const F::Bits live = I::where_greater(log, I::all(-1), I::all(-1), I::all(0));
            const F::Bits octave = F::template up<23>(F::down(log, fraction));
            const F::Bits remainder = I::bit_and(log, mask);
            for (int v = 0; v < versions; ++v) {
                const F::Bits mantissa = look_up(v, remainder);
                const F::Bits bits = I::bit_or(I::bit_and(I::add(mantissa, octave), live), sign);
                F::store(out + v * kColumns, F::number(bits));
            }
        }

        // The table ends in as many unused floats as a vector has.
        SLIPSTICK_INLINE F::Bits look_up(int version, F::Bits index) const {
            const int32_t* entries = table + (int64_t{version} << fraction);
            if constexpr (kPermute) return F::permute(kVersions ? I::load(entries) : constants, index);
            return I::gather(entries, index);
        }
    };

    // One chunk of kRows x kColumns sums; whether one of them came near an end of the accumulator. A function of its own
    // whose loop holds nothing but the sums: with one register less they spill.
    __attribute__((noinline)) bool tile(int row, int64_t count, int32_t* out) const {
        F::V sums[kRows][kVectors];
        for (auto& line : sums)
            for (auto& sum : line) sum = F::all(kOrigin);
        const Factor* left = left_ + int64_t{row} * length_;
        const float* right = right_;
        const int step = kColumns * (kVersions ? plan_.versions : 1);
        for (int64_t k = 0; k < count; ++k, left += kRows, right += step) {
            if constexpr (kVersions) {
                for (int r = 0; r < kRows; ++r) {
                    const F::V factor = F::all(left[r].number);
                    const float* version = right + left[r].offset;
                    for (int i = 0; i < kVectors; ++i)
                        sums[r][i] = F::multiply_add(factor, F::load(version + i * F::kLanes), sums[r][i]);
                }
            } else {
                F::V numbers[kVectors];
                for (int i = 0; i < kVectors; ++i) numbers[i] = F::load(right + i * F::kLanes);
                for (int r = 0; r < kRows; ++r) {
                    const F::V factor = F::all(left[r].number);
                    for (int i = 0; i < kVectors; ++i) sums[r][i] = F::multiply_add(factor, numbers[i], sums[r][i]);
                }
            }
        }
        float start = kOrigin;
        asm("" : "+x"(start));
        const F::Bits origin = F::bits(F::all(start));
        F::Bits largest = I::all(0);
        for (int r = 0; r < kRows; ++r)
            for (int i = 0; i < kVectors; ++i) {
                int32_t* to = out + int64_t{r} * block_.out_stride + i * F::kLanes;
                const F::Bits sum = I::add(I::load(to), I::sub(F::bits(sums[r][i]), origin));
                I::store(to, sum);
                largest = I::max(largest, F::abs(sum));
            }
        return F::any_above(largest, I::all(limit_));
    }

    const LinearBlock& block_;
    const LinearPlan& plan_;
    int64_t length_, rows_;
    float* right_;
    Factor *left_, *factors_;  // packed; of every signed log
    bool* left_early_;
    int32_t limit_;
};

}  // namespace

}  // namespace SLIPSTICK_ISA
}  // namespace slipstick
