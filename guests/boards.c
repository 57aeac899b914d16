/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* boards.c: the boards of the guests in guests.c, for the monitor. */
#include "graft/board.h"

extern const struct board a64_board, rv64_board;

const struct board *const boards[] = {&a64_board, &rv64_board, NULL};
