// Cutting an adder's tables into lines (gemm_lines.h), and looking every difference up as the kernel does.
// Included by gemm.cpp only.
#pragma once

#include "gemm_bytes_build.h"

namespace slipstick {

namespace {

constexpr int64_t kLargestKey = 32767;

// bias - D of one table, for every d; the kernel looks up 1 <= d < n where signs differ, 0 <= d < n where they agree.
struct LineTable {
    const AdderTables& adder;
    int32_t bias;
    bool opposite;

    int64_t first() const { return opposite ? 1 : 0; }

    // -1 where it is nothing that a line can hold.
    int64_t operator()(int64_t d) const {
        const Differences differences{adder};
        const int64_t value = opposite ? differences.minus(d) : differences.plus(d);
        const int64_t entry = bias - value;
        return value == kCancel || entry < 0 || entry > UINT16_MAX ? -1 : entry;
    }
};

// A line's d-dependent part with slope 2^exponent, by shifts.
int64_t shifted(int64_t d, int exponent) { return exponent >= 0 ? d << exponent : d >> -exponent; }

constexpr int kFlat = INT_MIN;  // the exponent of a constant
constexpr int kLeastExponent = -15, kLargestExponent = 11;

// How far from `first` on a table is one line, and its exponent.
struct Line {
    int64_t first, end;
    int exponent;
};

Line longest_line(const LineTable& table, int64_t first, int64_t n) {
    Line best{first, first, kFlat};
    const int sign = table.opposite ? -1 : 1;
    for (int exponent = kLeastExponent - 1; exponent <= kLargestExponent; ++exponent) {
        const bool flat = exponent < kLeastExponent;
        const auto rest = [&](int64_t d) { return table(d) - (flat ? 0 : sign * shifted(d, exponent)); };
        int64_t end = first;
        while (end < n && table(end) >= 0 && rest(end) == rest(first)) ++end;
        if (end > best.end) best = {first, end, flat ? kFlat : exponent};
    }
    return best;
}

// The fewest lines; empty where a table has entries that no line can hold, or too many lines.
std::vector<Line> lines_of(const LineTable& table) {
    std::vector<Line> lines;
    const int64_t n = table.adder.n();
    for (int64_t d = table.first(); d < n; d = lines.back().end) {
        const Line line = longest_line(table, d, n);
        if (line.end == d || lines.size() == kPieces) return {};
        lines.push_back(line);
    }
    return lines;
}

// The power with which (d * 2^shift) * 2^power / 2^16 is the line; kFlat where none is needed, -1 where there is none.
int power_of(const Line& line, int shift) {
    if (line.exponent == kFlat) return kFlat;
    const int power = 16 - shift + line.exponent;
    if ((line.end << shift) > UINT16_MAX + 1 || power < 0 || power > 15) return -1;
    return power;
}

// Finds one scale for four neighbouring pieces.
int shift_of(const Line* begin, const Line* end) {
    for (int shift = 0; shift < 16; ++shift)
        if (std::all_of(begin, end, [&](const Line& line) { return power_of(line, shift) != -1; })) return shift;
    return -1;
}

void set_word(uint8_t (&lanes)[kTableLane], int word, int value) {
    for (int lane = 0; lane < kTableLane; lane += kSlice) {
        lanes[lane + 2 * word] = static_cast<uint8_t>(value & 0xFF);
        lanes[lane + 2 * word + 1] = static_cast<uint8_t>(value >> 8 & 0xFF);
    }
}

void set_byte(uint8_t (&lanes)[kTableLane], int byte, int value) {
    for (int lane = 0; lane < kTableLane; lane += kSlice) lanes[lane + byte] = static_cast<uint8_t>(value & 0xFF);
}

// Numbers the pieces of one sign in the order of their keys, and fills in what the kernel asks of them.
bool set_pieces(LineTables& tables, const LineTable& table) {
    std::vector<Line> lines = lines_of(table);
    if (lines.empty()) return false;
    while (lines.size() < kPieces) lines.push_back({kLargestKey + 1, kLargestKey + 1, kFlat});
    const int sign = table.opposite ? 1 : 0;
    const auto threshold = [&](int leaf) {
        const int64_t key = table.opposite ? -1 - lines[kPieces - leaf].first : lines[leaf].first - 1;
        return static_cast<int>(std::max<int64_t>(key, INT16_MIN));
    };
    set_word(tables.thresholds[0], 4 * sign, threshold(8));
    for (int half = 0; half < 2; ++half) set_word(tables.thresholds[1], 4 * sign + 2 * half, threshold(8 * half + 4));
    for (int quarter = 0; quarter < 4; ++quarter) {
        const int word = 4 * sign + quarter, leaf = 4 * quarter;
        set_word(tables.thresholds[2], word, threshold(leaf + 2));
        set_word(tables.thresholds[3], word, threshold(leaf + 1));
        set_word(tables.thresholds[4], word, threshold(leaf + 3));
        const Line* begin = &lines[table.opposite ? kPieces - 4 - leaf : leaf];
        const int shift = shift_of(begin, begin + 4);
        if (shift < 0) return false;
        set_word(tables.scales, word, 1 << shift);
        for (int i = 0; i < 4; ++i) {
            const Line& line = begin[table.opposite ? 3 - i : i];
            const int power = power_of(line, shift), factor = power == kFlat ? 0 : 1 << power;
            const int key = static_cast<int>(table.opposite ? -1 - line.first : line.first);
            const int scaled = (key * (1 << shift)) & 0xFFFF;
            const int64_t entry = line.first < table.adder.n() ? table(line.first) : 0;
            const int offset = static_cast<int>(entry - (int64_t{scaled} * factor >> 16));
            const int byte = 8 * sign + 2 * quarter + i / 2, odd = i % 2;
            set_byte(tables.pieces[0][odd], byte, factor);
            set_byte(tables.pieces[1][odd], byte, factor >> 8);
            set_byte(tables.pieces[2][odd], byte, offset);
            set_byte(tables.pieces[3][odd], byte, offset >> 8);
        }
    }
    return true;
}

// What a line kernel finds where signs differ and d > 0, or agree, and d has not passed the end.
int look_up(const LineTables& tables, int64_t d, bool opposite) {
    const auto word = [](const uint8_t (&lanes)[kTableLane], int i) {
        return static_cast<int16_t>(lanes[2 * i] | lanes[2 * i + 1] << 8);
    };
    const int key = static_cast<int>(opposite ? -1 - d : d);
    int node = opposite ? 4 : 0;
    if (key > word(tables.thresholds[0], node)) node |= 2;
    if (key > word(tables.thresholds[1], node)) node |= 1;
    const int third = key > word(tables.thresholds[2], node);
    const int odd = key > word(tables.thresholds[3 + third], node);
    const auto part = [&](int p) { return tables.pieces[p][odd][2 * node + third]; };
    const int scaled = (key * word(tables.scales, node)) & 0xFFFF;
    const int64_t product = int64_t{scaled} * (part(0) | part(1) << 8) >> 16;
    return static_cast<int>(((part(2) | part(3) << 8) + product) & 0xFFFF);
}

bool reproduces(const LineTables& tables, const LineTable& table) {
    for (int64_t d = table.first(); d < table.adder.n(); ++d)
        if (look_up(tables, d, table.opposite) != table(d)) return false;
    return true;
}

void set_constants(LineTables& tables, int64_t last, int32_t bias) {
    const auto set = [&](LineConstant which, int64_t value) {
        std::fill_n(tables.constants[which], kTableLane / 2, static_cast<int16_t>(value));
    };
    set(kLast, last);
    set(kBias, bias);
    set(kCancelled, -1);
    set(kRoot, 0x0100);  // a word's bytes are the places of its bytes in a table
    set(kDiffer, 0x0808);
    set(kFirst, 0x0404);
    set(kSecond, 0x0202);
    set(kLowByte, 0x00FF);
}

LineTables make_line_tables(const AdderTables& adder, int32_t bias) {
    LineTables tables;
    const LineTable plus{adder, bias, false}, minus{adder, bias, true};
    set_constants(tables, adder.n() - 1, bias);
    tables.exact = adder.minus[0] == kCancel && set_pieces(tables, plus) && set_pieces(tables, minus) &&
                   reproduces(tables, plus) && reproduces(tables, minus);
    return tables;
}

}  // namespace

}  // namespace slipstick
