/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ram_file.h: the guest's memory into files, where what is zero, or was never touched, takes no room. */
#ifndef GRAFT_RAM_FILE_H
#define GRAFT_RAM_FILE_H

#include "hypervisor/monitor.h"

#define RAM_PIECE (1u << 20) /* bytes; memory has a multiple of it */

/* ram_file_pages(): before the sandbox: what tells which memory has been touched, for ram_file_has_data(); -1: nothing
 * does. To be closed. ram_file_has_data(): may there be something that is not 0 in the piece at that offset of RAM?
 * Does not touch it. ram_file_put(): those pages of a piece, at data, that are not all zeroes, to offset at of a file;
 * *any: there is one. False: errno. ram_file_write(): all of it; false: errno. */
int ram_file_pages(void);
bool ram_file_has_data(const struct machine *m, int pages, uint64_t offset);
bool ram_file_put(int fd, const uint8_t *data, uint64_t at, bool *any);
bool ram_file_write(int fd, const void *from, size_t bytes, uint64_t at);

#endif
