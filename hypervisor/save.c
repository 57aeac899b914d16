/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* save.c: when a machine is saved (--save): at a key, after a time, or when the guest has printed something. */
#include "hypervisor/boot.h"
#include "hypervisor/snapshot.h"

#include <string.h>

void save_now(struct machine *m) {
    struct snapshot_target *t = m->files ? m->files->save : NULL;
    if (t && !pause_request(m, snapshot_save, t) && m->state == MACHINE_RUNNING)
        log_printf("graft: the machine is being saved already\n");
}

static void on_time(void *arg) { save_now(arg); }

void save_start(struct machine *m) {
    if (!m->options->save_after)
        return;
    event_add_timer(m, &m->save.timer, on_time, m);
    event_set_timer(&m->save.timer, event_now_ns() + (uint64_t)(m->options->save_after * 1e9));
}

/* How much of what has been printed may be the text's beginning, with one byte more. */
static size_t go_on(const char *text, size_t matched, uint8_t byte) {
    while (matched && text[matched] != (char)byte) {
        size_t n = matched - 1; /* the longest end of it that is a beginning */
        while (n && memcmp(text, text + matched - n, n))
            n--;
        matched = n;
    }
    return text[matched] == (char)byte ? matched + 1 : matched;
}

void save_look(struct machine *m, const uint8_t *buf, size_t len) {
    const char *text = m->options->save_at;
    for (; text && !m->save.seen && len; len--, buf++) {
        m->save.matched = go_on(text, m->save.matched, *buf);
        if (text[m->save.matched])
            continue;
        m->save.seen = true;
        save_now(m);
    }
}
