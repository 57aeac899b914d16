/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* save.c: when a machine is saved (--save): at a key, after a time, or when the guest has printed something. */
#include "hypervisor/boot.h"
#include "hypervisor/snapshot.h"

#include <stdio.h>
#include <string.h>

void save_now(struct machine *m) {
    struct snapshot_target *t = m->files ? m->files->save : NULL;
    if (t && !pause_request(m, snapshot_save, t) && m->state == MACHINE_RUNNING)
        log_printf("graft: the machine is being saved already\n");
}

bool save_ask(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]) {
    struct snapshot_target *t = m->files ? m->files->save : NULL;
    bool ok = t && pause_request(m, snapshot_save, t);
    if (!ok)
        snprintf(err, ERR_BYTES, "%s",
                 t ? "the machine is being saved already, or ends" : "this run has no --save FILE");
    if (ok) { /* it is this thread that will save it */
        t->done = done;
        t->arg = arg;
    }
    return ok;
}

static bool is_path(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return !strcmp(path, name) || (slash && !strcmp(slash + 1, name));
}

bool save_is_at(const struct machine *m, const char *name) {
    const struct snapshot_target *t = m->files ? m->files->save : NULL;
    return t && is_path(t->path, name);
}

bool save_began_at(const struct machine *m, const char *name) {
    return m->options->resume && is_path(m->options->resume, name);
}

/* Disks are not part of a snapshot: they have to be as they were. */
static bool disks_are_read_only(const struct options *o) {
    for (unsigned i = 0; i < o->drives; i++)
        if (!o->drive[i].readonly)
            return false;
    return true;
}

bool save_go_back(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]) {
    struct snapshot *s = m->files ? m->files->origin : NULL;
    bool ok = s && disks_are_read_only(m->options);
    if (!ok) {
        snprintf(err, ERR_BYTES, "%s",
                 s ? "its disks are not as they were: only with --drive FILE,ro can a machine go back"
                   : "this run has no --resume FILE to go back to");
        return false;
    }
    s->done = done;
    s->arg = arg;
    m->goes_back = true;
    machine_stop(m, MACHINE_RESET);
    return true;
}

static void on_time(void *arg) { save_now(arg); }

void save_set_timer(struct machine *m) {
    if (m->options->save_after)
        event_set_timer(&m->save.timer, event_now_ns() + (uint64_t)(m->options->save_after * 1e9));
}

void save_start(struct machine *m) {
    if (!m->options->save_after)
        return;
    event_add_timer(m, &m->save.timer, on_time, m);
    if (!m->files->resume)
        save_set_timer(m);
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
