#include "carrier_bytes.h"

#include <algorithm>
#include <vector>

#include "arithmetic.h"

namespace slipstick {

namespace {

constexpr int kMantissaBits = 23, kBuckets = 128, kBucketShift = 16;

// The fraction of the rounded log of 1.mantissa, up to and including `entries` (of the octave above).
struct Fractions {
    const EncodeTable<int32_t>& table;
    int frac_bits;

    int entries() const { return 1 << frac_bits; }

    int operator()(int32_t mantissa) const {
        const size_t bucket = (mantissa >> table.bucket_shift) & (table.offsets.size() - 1);
        return (mantissa + table.offsets[bucket]) >> (kMantissaBits - frac_bits);
    }

    // The first mantissa of fraction k + 1; 2^23 where there is none. Fractions rise with the mantissa.
    int32_t threshold(int k) const {
        int32_t low = 0, high = 1 << kMantissaBits;
        while (low < high) {
            const int32_t middle = (low + high) / 2;
            if ((*this)(middle) > k)
                high = middle;
            else
                low = middle + 1;
        }
        return low;
    }
};

// Between which values k may lie in each bucket: both fractions at its ends are k or k + 1.
struct Bounds {
    int least[kBuckets], most[kBuckets];

    explicit Bounds(const Fractions& fractions) {
        for (int m = 0; m < kBuckets; ++m) {
            least[m] = std::max(fractions(((m + 1) << kBucketShift) - 1) - 1, 0);
            most[m] = std::min(fractions(m << kBucketShift), fractions.entries() - 1);
        }
    }
};

// Sets the offset that leaves most room on both sides; false where none satisfies every bucket.
bool find_offset(const Bounds& bounds, int factor, int scale, CarrierBytes& bytes) {
    int64_t low = 0, high = 0xFFFF;
    for (int64_t m = 0; m < kBuckets; ++m) {
        const int64_t product = m * (factor - m);
        const auto first = [&](int64_t k) { return ((k << 16) + scale - 1) / scale - product; };  // that gives k
        high = std::min(high, 0xFFFF - product);
        if (scale == 0) {
            if (bounds.least[m] > 0) return false;
            continue;
        }
        low = std::max(low, first(bounds.least[m]));
        high = std::min(high, first(bounds.most[m] + 1) - 1);
    }
    if (low > high) return false;
    bytes.factor = static_cast<uint16_t>(factor);
    bytes.scale = static_cast<uint16_t>(scale);
    bytes.offset = static_cast<uint16_t>((low + high) / 2);
    return true;
}

// Around log2(1 + x) ~ x + .344 x (1 - x), for which the factor is 128 (1 + 1 / .344).
bool find_parabola(const Bounds& bounds, int entries, CarrierBytes& bytes) {
    for (int step = 0; step < 160; ++step) {
        const int factor = 500 + (step & 1 ? -step : step);
        const int scale = (entries << 16) / (kBuckets * (factor - kBuckets));
        for (int nearby : {scale, scale + 1, scale - 1})
            if (nearby >= 0 && find_offset(bounds, factor, nearby, bytes)) return true;
    }
    return false;
}

bool parabola_holds(const Bounds& bounds, const CarrierBytes& bytes) {
    for (uint32_t m = 0; m < kBuckets; ++m) {
        const uint32_t sum = m * (bytes.factor - m) + bytes.offset;
        const int k = static_cast<int>((sum * bytes.scale) >> 16);
        if (sum > 0xFFFF || k < bounds.least[m] || k > bounds.most[m]) return false;
    }
    return true;
}

void set_entry(CarrierBytes::Table (&tables)[3], int k, int32_t value) {
    for (int byte = 0; byte < 3; ++byte)
        for (int lane : {0, 16})
            tables[byte][k / 16][lane + k % 16] = static_cast<uint8_t>(value >> (8 * byte));
}

}  // namespace

CarrierBytes make_carrier_bytes(const Arithmetic& arithmetic) {
    CarrierBytes bytes;
    const int frac_bits = arithmetic.operand.frac_bits;
    if (frac_bits > kByteTableLog2 || arithmetic.operand.width() > 16) return bytes;
    for (size_t k = 0; k < arithmetic.decode.size(); ++k) set_entry(bytes.mantissas, k, arithmetic.decode[k]);
    bytes.decodes = true;
    const EncodeTable<int32_t>& table = arithmetic.encode_float;
    if (table.offsets.size() << table.bucket_shift != size_t{1} << kMantissaBits) return bytes;  // of two octaves
    const Fractions fractions{table, frac_bits};
    const Bounds bounds(fractions);
    for (int k = 0; k < fractions.entries(); ++k) set_entry(bytes.thresholds, k, fractions.threshold(k));
    bytes.encodes = find_parabola(bounds, fractions.entries(), bytes) && parabola_holds(bounds, bytes);
    return bytes;
}

}  // namespace slipstick
