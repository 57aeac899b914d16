/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * state.h: what of a structure is the state of a processor or device, as a table of its fields: what a snapshot saves
 * and loads (hypervisor/state.c), and what a debugger may look at. All else in the structure follows from it, or is
 * made anew.
 *
 * A file that is loaded may hold anything. So each field says which values it may have; what more there is to check,
 * whoever takes the state over does.
 */
#ifndef GRAFT_STATE_H
#define GRAFT_STATE_H

#include "graft/base.h"

enum state_kind {
    STATE_KIND_SAVED,
    STATE_KIND_SAME,   /* is not loaded: it has to be what there is already */
    STATE_KIND_DERIVED /* is not saved: it follows from the rest. For who looks for fields that were forgotten */
};
struct state_field {
    const char *name; /* NULL ends a table */
    uint32_t offset, bytes;
    uint8_t kind; /* enum state_kind */
    uint8_t unit; /* bytes of each number in it: 1, 2, 4 or 8; 0: no matter */
    uint64_t max; /* the largest that a number may be, if unit is not 0 */
};
#define STATE_ROW(type, field, kind, unit, max)                                                                        \
    {#field, (uint32_t)offsetof(type, field), sizeof(((type *)0)->field), STATE_KIND_##kind, unit, max}
/* Any value; numbers of so many bytes up to a maximum; booleans. Of an array, each element. */
#define STATE(type, field) STATE_ROW(type, field, SAVED, 0, 0)
#define STATE_MAX(type, field, unit, max) STATE_ROW(type, field, SAVED, unit, max)
#define STATE_BOOL(type, field) STATE_ROW(type, field, SAVED, sizeof(bool), 1)
#define STATE_SAME(type, field) STATE_ROW(type, field, SAME, 0, 0)
#define STATE_DERIVED(type, field) STATE_ROW(type, field, DERIVED, 0, 0)
/* All from one field up to another, which is not in it. */
#define STATE_RANGE_ROW(type, first, past, kind)                                                                       \
    {#first "..",                                                                                                      \
     (uint32_t)offsetof(type, first),                                                                                  \
     (uint32_t)(offsetof(type, past) - offsetof(type, first)),                                                         \
     STATE_KIND_##kind,                                                                                                \
     0,                                                                                                                \
     0}
#define STATE_RANGE(type, first, past) STATE_RANGE_ROW(type, first, past, SAVED)
#define STATE_END {0}

#endif
