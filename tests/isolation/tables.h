/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* tables.h: what the page tables of a VM allow. */
#ifndef TABLES_H
#define TABLES_H

#include "hypervisor/monitor.h"

struct tables_seen {
    unsigned long code, window, huge; /* leaves: of what can be executed; in windows; in windows, of 2 MiB */
};
/* tables_check(): walks all tables below root, an offset in the arena of m, whose own tables are t. At no address may
 * memory be writable and executable; only the engine's text and translated code may be executed at all; descriptor
 * tables, the tables that the monitor made, boot page and engine text may be written nowhere. Prints what is wrong, and
 * returns how often; adds to seen. The vCPUs do not run. */
unsigned tables_check(const struct machine *m, const struct vm_tables *t, uint64_t root, struct tables_seen *seen);

#endif
