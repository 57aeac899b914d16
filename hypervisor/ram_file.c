/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* ram_file.c: see ram_file.h. */
#include "hypervisor/ram_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PAGES (RAM_PIECE / PAGE_SIZE)
#define PAGEMAP_THERE (BIT(63) | BIT(62) | BIT(61)) /* in memory, swapped out, of a file */

int ram_file_pages(void) { return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); }

bool ram_file_write(int fd, const void *from, size_t bytes, uint64_t at) {
    ssize_t n;
    for (size_t done = 0; done < bytes; done += (size_t)n) {
        n = pwrite(fd, (const uint8_t *)from + done, bytes - done, (off_t)(at + done));
        if (n <= 0 && errno != EINTR)
            return false;
        n = n < 0 ? 0 : n;
    }
    return true;
}

static bool is_zero(const uint8_t *page) {
    const uint64_t *p = (const uint64_t *)page;
    uint64_t any = 0;
    for (unsigned i = 0; i < PAGE_SIZE / 8 && !any; i += 8)
        any = p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7];
    return !any;
}

bool ram_file_has_data(const struct machine *m, int pages, uint64_t offset) {
    uint64_t entry[PAGES];
    if (m->ram_fd >= 0) {
        off_t data = lseek(m->ram_fd, (off_t)offset, SEEK_DATA);
        return data < 0 ? errno != ENXIO : (uint64_t)data < offset + RAM_PIECE;
    }
    off_t at = (off_t)(((uint64_t)m->ram + offset) / PAGE_SIZE * sizeof(entry[0]));
    if (m->mapped_ram || pages < 0 || pread(pages, entry, sizeof(entry), at) != sizeof(entry))
        return true;
    for (unsigned i = 0; i < PAGES; i++)
        if (entry[i] & PAGEMAP_THERE)
            return true;
    return false;
}

bool ram_file_put(int fd, const uint8_t *data, uint64_t at, bool *any) {
    bool ok = true;
    for (unsigned first = 0, past; ok && first < PAGES; first = past) {
        while (first < PAGES && is_zero(data + first * PAGE_SIZE))
            first++;
        for (past = first; past < PAGES && !is_zero(data + past * PAGE_SIZE);)
            past++;
        *any |= past > first;
        ok = ram_file_write(fd, data + first * PAGE_SIZE, (past - first) * PAGE_SIZE, at + first * PAGE_SIZE);
    }
    return ok;
}
