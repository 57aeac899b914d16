/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* chess - alpha-beta search with move generation on a 0x88 board; a capture of the king ends a line. */

#include "bench.h"

enum { EMPTY, PAWN, KNIGHT, BISHOP, ROOK, QUEEN, KING, WHITE = 8, BLACK = 16, DEPTH = 6, INFINITE = 1000000 };

struct move {
    uint8_t from, to, captured, promoted;
};

static uint8_t board[128];
static uint64_t nodes;
static const int value_of[7] = {0, 100, 310, 330, 500, 900, 100000};
static const int8_t steps[7][8] = {
    [KNIGHT] = {33, 31, 18, 14, -33, -31, -18, -14},
    [BISHOP] = {17, 15, -17, -15},
    [ROOK] = {16, 1, -16, -1},
    [QUEEN] = {17, 16, 15, 1, -17, -16, -15, -1},
    [KING] = {17, 16, 15, 1, -17, -16, -15, -1},
};

static void set_up(const char *fen) {
    static const char letters[] = " pnbrqk";
    int at = 7 * 16;
    memset(board, 0, sizeof board);
    for (; *fen && *fen != ' '; fen++)
        if (*fen == '/')
            at = (at & 0x70) - 16;
        else if (*fen >= '1' && *fen <= '8')
            at += *fen - '0';
        else
            board[at++] = (uint8_t)((strchr(letters, *fen | 32) - letters) | (*fen & 32 ? BLACK : WHITE));
}

static struct move *add_move(struct move *m, int from, int to, int promoted) {
    *m = (struct move){(uint8_t)from, (uint8_t)to, board[to], (uint8_t)promoted};
    return m + 1;
}

static struct move *pawn_moves(struct move *m, int from, int side) {
    int forward = side == WHITE ? 16 : -16, to = from + forward;
    int last = side == WHITE ? 7 : 0, home = side == WHITE ? 1 : 6;
    int promoted = to >> 4 == last ? QUEEN | side : 0;
    if (!(to & 0x88) && !board[to]) {
        m = add_move(m, from, to, promoted);
        if (from >> 4 == home && !board[to + forward])
            m = add_move(m, from, to + forward, 0);
    }
    for (int side_step = -1; side_step <= 1; side_step += 2) {
        int target = to + side_step;
        if (!(target & 0x88) && board[target] && !(board[target] & side))
            m = add_move(m, from, target, promoted);
    }
    return m;
}

static struct move *piece_moves(struct move *m, int from, int side) {
    int kind = board[from] & 7;
    bool slides = kind == BISHOP || kind == ROOK || kind == QUEEN;
    for (int i = 0; i < 8 && steps[kind][i]; i++)
        for (int to = from + steps[kind][i]; !(to & 0x88) && !(board[to] & side); to += steps[kind][i]) {
            m = add_move(m, from, to, 0);
            if (board[to] || !slides)
                break;
        }
    return m;
}

static int generate(struct move *list, int side) {
    struct move *m = list;
    for (int at = 0; at < 120; at++) {
        if (at & 0x88) {
            at += 7;
            continue;
        }
        if (board[at] & side)
            m = (board[at] & 7) == PAWN ? pawn_moves(m, at, side) : piece_moves(m, at, side);
    }
    return (int)(m - list);
}

static int evaluate(int side) {
    int score = 0;
    for (int at = 0; at < 120; at++) {
        if (at & 0x88) {
            at += 7;
            continue;
        }
        if (!board[at])
            continue;
        int rank = at >> 4, file = at & 7, centre = (rank < 4 ? rank : 7 - rank) + (file < 4 ? file : 7 - file);
        int v = value_of[board[at] & 7] + 4 * centre;
        score += board[at] & WHITE ? v : -v;
    }
    return side == WHITE ? score : -score;
}

/* The most valuable victims first: insertion sort is enough for these lists. */
static void order(struct move *list, int count) {
    for (int i = 1; i < count; i++) {
        struct move m = list[i];
        int key = value_of[m.captured & 7], j = i - 1;
        for (; j >= 0 && value_of[list[j].captured & 7] < key; j--)
            list[j + 1] = list[j];
        list[j + 1] = m;
    }
}

static int search(int depth, int alpha, int beta, int side) {
    struct move list[256];
    nodes++;
    if (!depth)
        return evaluate(side);
    int count = generate(list, side), other = side ^ (WHITE | BLACK);
    order(list, count);
    for (int i = 0; i < count; i++) {
        struct move m = list[i];
        uint8_t piece = board[m.from];
        if ((m.captured & 7) == KING)
            return INFINITE + depth;
        board[m.to] = m.promoted ? m.promoted : piece;
        board[m.from] = EMPTY;
        int score = -search(depth - 1, -beta, -alpha, other);
        board[m.from] = piece;
        board[m.to] = m.captured;
        if (score >= beta)
            return beta;
        if (score > alpha)
            alpha = score;
    }
    return alpha;
}

int main(void) {
    static const char *const positions[] = {
        "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR",
        "r1bqk2r/pppp1ppp/2n2n2/2b1p3/2B1P3/2NP1N2/PPP2PPP/R1BQK2R",
        "8/5pk1/6p1/1p1r3p/p1R4P/P3KPP1/1P6/8",
    };
    uint64_t sum = 0;
    bench_begin();
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        set_up(positions[i]);
        sum = bench_mix(sum, (uint64_t)(search(DEPTH, -2 * INFINITE, 2 * INFINITE, WHITE) + INFINITE));
    }
    bench_end("chess", bench_mix(sum, nodes));
    return 0;
}
