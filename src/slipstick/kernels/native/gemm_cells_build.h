// Cutting an adder's tables into lines and differences into cells (gemm_cells_avx512.h), and looking every difference up
// as the kernel does. Included by gemm.cpp only.
#pragma once

#include <array>

#include "gemm_bytes_build.h"

namespace slipstick {

namespace {

constexpr int kCells = 64, kCellPieces = 64, kPieceReach = 1 << kPieceShift;

// bias - D of one table, for every d up to the end of the tables, and the key that lines multiply.
struct EntryTable {
    const AdderTables& adder;
    int32_t bias;
    bool opposite;

    int64_t end() const { return adder.n(); }

    int64_t operator()(int64_t d) const {
        const Differences differences{adder};
        const int64_t value = opposite ? differences.minus(d) : differences.plus(d);
        return value == kCancel ? UINT16_MAX : bias - value;
    }

    int key(int64_t d, int shift) const { return static_cast<int>((opposite ? -1 - (d << shift) : d << shift) & 0xFFFF); }
};

// A line holds from `first` on, and would have from `early` on.
struct Piece {
    int64_t early, first;
    uint16_t factor, offset;
};

uint16_t line_of(const EntryTable& table, int64_t d, int shift, int factor) {
    return static_cast<uint16_t>(table(d) - (int64_t{table.key(d, shift)} * factor >> 16));
}

constexpr int kFactors = 17;  // 0 and the powers of two

int factor_of(int which) { return which ? 1 << (which - 1) : 0; }

// The fewest pieces; empty where there are too many.
std::vector<Piece> pieces_of(const EntryTable& table, int shift) {
    std::vector<Piece> pieces;
    for (int64_t first = 0, next = 0; first <= table.end(); first = next) {
        if (pieces.size() == kCellPieces) return {};
        Piece best{};
        for (int which = 0; which < kFactors; ++which) {
            const int factor = factor_of(which);
            const uint16_t offset = line_of(table, first, shift, factor);
            int64_t stop = first + 1;
            while (stop <= table.end() && line_of(table, stop, shift, factor) == offset) ++stop;
            if (stop <= next) continue;
            next = stop;
            best = {first, first, static_cast<uint16_t>(factor), offset};
        }
        const int64_t before = pieces.empty() ? 0 : pieces.back().first + 1;
        while (best.early > before && line_of(table, best.early - 1, shift, best.factor) == best.offset) --best.early;
        pieces.push_back(best);
    }
    return pieces;
}

int cell_of(const CellTables& t, int64_t d) {
    const int64_t shifted = std::min<int64_t>(d >> t.fine, UINT8_MAX);
    const int64_t near = (shifted + t.near) & 0xFF, distant = ((shifted >> (t.coarse - t.fine)) + t.distant) & 0xFF;
    return static_cast<int>(std::min({std::min<int64_t>(d, UINT8_MAX), near, distant}));
}

// Moves every beginning of a piece to where a cell begins, if one does while both lines hold. At most one piece may
// begin inside a cell.
bool place(const CellTables& t, std::vector<Piece>& pieces) {
    int taken = -1;
    for (size_t i = 1; i < pieces.size(); ++i) {
        Piece& piece = pieces[i];
        int64_t at = std::max(piece.early, pieces[i - 1].first + 1);
        while (at <= piece.first && cell_of(t, at) == cell_of(t, at - 1)) ++at;
        if (at <= piece.first) {
            piece.first = at;
            continue;
        }
        const int cell = cell_of(t, piece.first);
        if (cell == taken) return false;
        taken = cell;
    }
    return true;
}

// Where the sum of d and a cell's start carries into the number of the next piece.
void set_starts(CellTables& t, const std::vector<Piece>& pieces, int base, int64_t end, bool opposite) {
    size_t piece = 0;
    for (int64_t d = 0, next = 0; d <= end; d = next) {
        const int cell = cell_of(t, d);
        while (next <= end && cell_of(t, next) == cell) ++next;
        while (piece + 1 < pieces.size() && pieces[piece + 1].first <= d) ++piece;
        const bool within = piece + 1 < pieces.size() && pieces[piece + 1].first < next;
        const int64_t carry = within ? pieces[piece + 1].first : d + kPieceReach;
        const int start = static_cast<int>((base + static_cast<int>(piece) + 1) * kPieceReach - carry);
        const int index = opposite ? 2 * kCells - 1 - cell : cell;
        t.low[index] = static_cast<uint8_t>(start);
        t.high[index] = static_cast<uint8_t>(start >> 8);
    }
}

// What the kernel looks up.
uint16_t look_up(const CellTables& t, const EntryTable& table, int64_t d) {
    const int cell = cell_of(t, d), index = table.opposite ? 2 * kCells - 1 - cell : cell;
    const int start = t.low[index] | t.high[index] << 8;
    const int piece = ((static_cast<int>(d) + start) & 0xFFFF) >> kPieceShift;
    return static_cast<uint16_t>(t.offsets[piece] + (int64_t{table.key(d, t.key_shift)} * t.factors[piece] >> 16));
}

bool reproduces(const CellTables& t, const EntryTable& table) {
    for (int64_t d = 0; d <= table.end(); ++d)
        if (look_up(t, table, d) != table(d)) return false;
    return true;
}

// Fills the tables for the pieces of both signs, if these cells hold them.
bool fill(CellTables& t, std::array<std::vector<Piece>, 2> pieces, const std::array<EntryTable, 2>& tables) {
    int base = 0;
    for (int sign = 0; sign < 2; ++sign) {
        if (!place(t, pieces[sign])) return false;
        for (size_t i = 0; i < pieces[sign].size(); ++i) {
            t.factors[base + i] = pieces[sign][i].factor;
            t.offsets[base + i] = pieces[sign][i].offset;
        }
        set_starts(t, pieces[sign], base, tables[sign].end(), sign == 1);
        base += static_cast<int>(pieces[sign].size());
    }
    return reproduces(t, tables[0]) && reproduces(t, tables[1]);
}

// Narrow cells where d is small, up to 2^fine wide further out, up to 2^coarse beyond; the first that do.
bool find_cells(CellTables& t, const std::array<std::vector<Piece>, 2>& pieces,
                const std::array<EntryTable, 2>& tables) {
    for (t.fine = 1; t.fine < 8; ++t.fine)
        for (t.coarse = t.fine + 1; t.coarse < std::min(t.fine + 8, 10); ++t.coarse) {
            t.distant = kCells - 1 - static_cast<int>(t.end >> t.coarse);
            for (t.near = t.distant; t.near > 0; --t.near)
                if (cell_of(t, t.end) < kCells && fill(t, pieces, tables)) return true;
        }
    return false;
}

CellTables make_cell_tables(const AdderTables& adder, int32_t bias) {
    CellTables t;
    t.end = static_cast<int32_t>(adder.n());
    if (adder.minus[0] != kCancel) return t;
    const std::array<EntryTable, 2> tables{EntryTable{adder, bias, false}, EntryTable{adder, bias, true}};
    for (t.key_shift = 4; t.key_shift < 8; ++t.key_shift) {
        const std::array<std::vector<Piece>, 2> pieces{pieces_of(tables[0], t.key_shift),
                                                       pieces_of(tables[1], t.key_shift)};
        const size_t count = pieces[0].size() + pieces[1].size();
        if (pieces[0].empty() || pieces[1].empty() || count > kCellPieces) continue;
        t.exact = find_cells(t, pieces, tables);
        if (t.exact) return t;
    }
    return t;
}

}  // namespace

}  // namespace slipstick
