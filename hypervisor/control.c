/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* control.c: see control.h. */
#include "hypervisor/control.h"
#include "hypervisor/gdb.h"
#include "hypervisor/stream.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef GRAFT_VERSION
#define GRAFT_VERSION "0.0.0" /* in a fuzzer */
#endif

static struct control {
    struct stream *stream;
    struct machine *machine;
    struct json_split in;
    bool connected, negotiated;
    cJSON **later;      /* where the message that is being carried out leaves its id: it is answered later */
    bool stopping;      /* "stop" is answered when all is held */
    bool stop_is_typed; /* by human-monitor-command */
    cJSON *stop_id;
    bool first; /* there was no machine yet */
    bool asked_reset, asked_quit;
    struct {
        char id[64]; /* "": there is none */
        const char *type;
        bool running, loads; /* loads: it goes on in the next machine */
        char error[ERR_BYTES];
        bool typed, waited_for; /* typed: savevm or loadvm, which have no name, and are answered, if someone waits, when
                                   they are over */
        cJSON *answer_id;
    } job; /* what saves the machine, or has it go back, until job-dismiss */
} c;

/* --- what is sent ----------------------------------------------------------------------------- */
/* Takes the message. */
static void send_message(cJSON *message) {
    char *text = cJSON_PrintUnformatted(message);
    if (text) {
        stream_write(c.stream, text, strlen(text));
        stream_write(c.stream, "\r\n", 2);
    }
    free(text);
    cJSON_Delete(message);
}

/* An answer, which takes id. */
static void send_answer(const char *name, cJSON *what, cJSON *id) {
    cJSON *message = cJSON_CreateObject();
    cJSON_AddItemToObject(message, name, what ? what : cJSON_CreateObject());
    if (id)
        cJSON_AddItemToObject(message, "id", id);
    send_message(message);
}

static void send_error(const char *class, const char *text, cJSON *id) {
    cJSON *error = cJSON_CreateObject();
    cJSON_AddStringToObject(error, "class", class);
    cJSON_AddStringToObject(error, "desc", text);
    send_answer("error", error, id);
}

/* data is taken; NULL: there is none. */
static void send_event(const char *name, cJSON *data) {
    struct timespec now;
    if (!c.negotiated) {
        cJSON_Delete(data);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    cJSON *message = cJSON_CreateObject(), *time = cJSON_AddObjectToObject(message, "timestamp");
    cJSON_AddNumberToObject(time, "seconds", (double)now.tv_sec);
    cJSON_AddNumberToObject(time, "microseconds", (double)(now.tv_nsec / 1000));
    cJSON_AddStringToObject(message, "event", name);
    if (data)
        cJSON_AddItemToObject(message, "data", data);
    send_message(message);
}

static cJSON *cause(bool guest, const char *reason) {
    cJSON *data = cJSON_CreateObject();
    cJSON_AddBoolToObject(data, "guest", guest);
    cJSON_AddStringToObject(data, "reason", reason);
    return data;
}

static cJSON *version(void) {
    unsigned major = 0, minor = 0, micro = 0;
    sscanf(GRAFT_VERSION, "%u.%u.%u", &major, &minor, &micro);
    cJSON *o = cJSON_CreateObject(), *qemu = cJSON_AddObjectToObject(o, "qemu");
    cJSON_AddNumberToObject(qemu, "micro", micro);
    cJSON_AddNumberToObject(qemu, "minor", minor);
    cJSON_AddNumberToObject(qemu, "major", major);
    cJSON_AddStringToObject(o, "package", "graft " GRAFT_VERSION);
    return o;
}

/* --- commands: the result, NULL for an empty one, or an error in err -------------------------- */
static cJSON *query_status(const cJSON *args, char err[ERR_BYTES]) {
    bool held = pause_is_wanted(c.machine), panicked = c.machine->state == MACHINE_PANICKED;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "running", !held && !panicked);
    cJSON_AddStringToObject(o, "status", panicked ? "guest-panicked" : held ? "paused" : "running");
    return o;
}

static cJSON *query_version(const cJSON *args, char err[ERR_BYTES]) { return version(); }
static cJSON *query_name(const cJSON *args, char err[ERR_BYTES]) { return NULL; }
static cJSON *query_commands(const cJSON *args, char err[ERR_BYTES]);
static cJSON *negotiate(const cJSON *args, char err[ERR_BYTES]) { return NULL; }

static void answer_stop(void) {
    if (c.stopping)
        send_answer("return", c.stop_is_typed ? cJSON_CreateString("") : NULL, c.stop_id);
    c.stop_id = NULL;
    c.stopping = c.stop_is_typed = false;
}

/* They overtake the one before. */
static cJSON *stop(const cJSON *args, char err[ERR_BYTES]) {
    answer_stop();
    c.stopping = !pause_is_held(c.machine);
    if (c.stopping)
        c.later = &c.stop_id;
    pause_hold(c.machine);
    return NULL;
}

static cJSON *cont(const cJSON *args, char err[ERR_BYTES]) {
    answer_stop();
    pause_continue(c.machine);
    return NULL;
}

static cJSON *system_powerdown(const cJSON *args, char err[ERR_BYTES]) {
    for (unsigned i = 0; i < c.machine->device_count; i++)
        if (!strcmp(c.machine->device[i]->ops->name, "pl061")) {
            pl061_press(c.machine->device[i]);
            send_event("POWERDOWN", NULL);
            return NULL;
        }
    snprintf(err, ERR_BYTES, "this board has no power key");
    return NULL;
}

static cJSON *system_reset(const cJSON *args, char err[ERR_BYTES]) {
    c.asked_reset = true;
    machine_stop(c.machine, MACHINE_RESET);
    return NULL;
}

static cJSON *quit(const cJSON *args, char err[ERR_BYTES]) {
    c.asked_quit = true;
    supervise_stop(0);
    return NULL;
}

static cJSON *query_cpus_fast(const cJSON *args, char err[ERR_BYTES]) {
    cJSON *list = cJSON_CreateArray();
    char path[64];
    for (unsigned i = 0; i < c.machine->vcpu_count; i++) {
        cJSON *o = cJSON_CreateObject(), *props;
        snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
        cJSON_AddNumberToObject(o, "cpu-index", i);
        cJSON_AddStringToObject(o, "qom-path", path);
        cJSON_AddNumberToObject(o, "thread-id", (double)atomic_load(&c.machine->vcpu[i].tid));
        cJSON_AddStringToObject(o, "target", c.machine->board->target);
        props = cJSON_AddObjectToObject(o, "props");
        cJSON_AddNumberToObject(props, "core-id", i);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static struct device *disk(unsigned n) {
    for (unsigned i = 0; i < c.machine->device_count; i++)
        if (c.machine->device[i]->virtio_slot == (int)n) /* drives have the first ones */
            return c.machine->device[i];
    return NULL;
}

static cJSON *drive(unsigned n) {
    char name[16];
    cJSON *o = cJSON_CreateObject();
    snprintf(name, sizeof(name), "drive%u", n);
    cJSON_AddStringToObject(o, "device", name);
    return o;
}

static cJSON *query_block(const cJSON *args, char err[ERR_BYTES]) {
    const struct options *opt = c.machine->options;
    cJSON *list = cJSON_CreateArray();
    for (unsigned n = 0; n < opt->drives; n++) {
        cJSON *o = drive(n), *in;
        cJSON_AddBoolToObject(o, "locked", false);
        cJSON_AddBoolToObject(o, "removable", false);
        cJSON_AddStringToObject(o, "type", "unknown");
        in = cJSON_AddObjectToObject(o, "inserted");
        cJSON_AddStringToObject(in, "file", opt->drive[n].path);
        cJSON_AddStringToObject(in, "drv", disks_format(n));
        cJSON_AddBoolToObject(in, "ro", opt->drive[n].readonly);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static cJSON *query_blockstats(const cJSON *args, char err[ERR_BYTES]) {
    cJSON *list = cJSON_CreateArray();
    for (unsigned n = 0; n < c.machine->options->drives; n++) {
        const struct device *d = disk(n);
        struct disk_counts k = d ? virtio_blk_counts(d) : (struct disk_counts){0};
        cJSON *o = drive(n), *s = cJSON_AddObjectToObject(o, "stats");
        cJSON_AddNumberToObject(s, "rd_bytes", (double)k.read_bytes);
        cJSON_AddNumberToObject(s, "wr_bytes", (double)k.written_bytes);
        cJSON_AddNumberToObject(s, "rd_operations", (double)k.reads);
        cJSON_AddNumberToObject(s, "wr_operations", (double)k.writes);
        cJSON_AddNumberToObject(s, "flush_operations", (double)k.flushes);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static struct device *balloon_device(char err[ERR_BYTES]) {
    if (!c.machine->balloon)
        snprintf(err, ERR_BYTES, "No balloon device has been activated");
    return c.machine->balloon;
}

/* How much memory the guest is to have, or has. */
static cJSON *balloon(const cJSON *args, char err[ERR_BYTES]) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, "value");
    double all = (double)c.machine->ram_size;
    if (!cJSON_IsNumber(value) || !(value->valuedouble > 0))
        snprintf(err, ERR_BYTES, "Parameter 'value' expects a size in bytes");
    else if (balloon_device(err))
        virtio_balloon_ask(c.machine->balloon, value->valuedouble < all ? (uint64_t)(all - value->valuedouble) : 0);
    return NULL;
}

static cJSON *query_balloon(const cJSON *args, char err[ERR_BYTES]) {
    const struct device *d = balloon_device(err);
    if (!d)
        return NULL;
    uint64_t in = virtio_balloon_bytes(d), all = c.machine->ram_size;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "actual", (double)(in < all ? all - in : 0));
    return o;
}

/* --- jobs: to save the machine, and to have it go back ---------------------------------------- */
static void job_says(const char *status) {
    cJSON *data = cJSON_CreateObject();
    cJSON_AddStringToObject(data, "status", status);
    cJSON_AddStringToObject(data, "id", c.job.id);
    send_event("JOB_STATUS_CHANGE", data);
}

static void forget_answer(void) {
    cJSON_Delete(c.job.answer_id);
    c.job.answer_id = NULL;
    c.job.waited_for = false;
}

static void answer_typed_job(const char *why) {
    char text[ERR_BYTES + 16] = "";
    if (why)
        snprintf(text, sizeof(text), "Error: %s\n", why);
    c.job.typed = false;
    if (c.job.waited_for)
        send_answer("return", cJSON_CreateString(text), c.job.answer_id);
    c.job.answer_id = NULL;
    c.job.waited_for = false;
}

static void job_end(void *arg, const char *why) {
    if (!c.job.running)
        return;
    c.job.running = c.job.loads = false;
    if (c.job.typed) {
        answer_typed_job(why);
        return;
    }
    snprintf(c.job.error, sizeof(c.job.error), "%s", why ? why : "");
    if (why)
        job_says("aborting");
    job_says("concluded");
}

static const char *text_of(const cJSON *args, const char *name) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(args, name);
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

static bool tag_is_right(const char *tag, bool loads, char err[ERR_BYTES]) {
    if (!tag || (loads ? save_began_at : save_is_at)(c.machine, tag))
        return true;
    snprintf(err, ERR_BYTES, "Parameter 'tag': a machine %s, and no other",
             loads ? "is loaded from the file of --resume" : "is saved to the file of --save");
    return false;
}

/* Is that a job that may be begun? */
static bool job_is_right(const char *id, const cJSON *args, bool loads, char err[ERR_BYTES]) {
    const char *tag = text_of(args, "tag");
    const cJSON *devices = cJSON_GetObjectItemCaseSensitive(args, "devices");
    if (!id || !*id || strlen(id) >= sizeof(c.job.id))
        snprintf(err, ERR_BYTES, "Parameter 'job-id' expects 1 to %zu characters", sizeof(c.job.id) - 1);
    else if (c.job.running)
        snprintf(err, ERR_BYTES, "a job runs already: there is one at a time");
    else if (!strcmp(id, c.job.id))
        snprintf(err, ERR_BYTES, "Job ID '%s' already in use", c.job.id);
    else if (!tag_is_right(tag, loads, err))
        return false;
    else if (devices && (!cJSON_IsArray(devices) || devices->child))
        snprintf(err, ERR_BYTES, "Parameter 'devices': disks are not saved with a machine: it has to be empty");
    else
        return true;
    return false;
}

static void begin_job(const cJSON *args, bool loads, char err[ERR_BYTES]) {
    const char *id = text_of(args, "job-id");
    if (!job_is_right(id, args, loads, err) || !(loads ? save_go_back : save_ask)(c.machine, job_end, NULL, err))
        return;
    snprintf(c.job.id, sizeof(c.job.id), "%s", id);
    c.job.type = loads ? "snapshot-load" : "snapshot-save";
    c.job.running = true;
    c.job.loads = loads;
    job_says("created");
    job_says("running");
}

static cJSON *snapshot_save_job(const cJSON *args, char err[ERR_BYTES]) {
    begin_job(args, false, err);
    return NULL;
}

static cJSON *snapshot_load_job(const cJSON *args, char err[ERR_BYTES]) {
    begin_job(args, true, err);
    return NULL;
}

static cJSON *query_jobs(const cJSON *args, char err[ERR_BYTES]) {
    cJSON *list = cJSON_CreateArray();
    if (!*c.job.id)
        return list;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", c.job.id);
    cJSON_AddStringToObject(o, "type", c.job.type);
    bool running = c.job.running && !c.job.typed;
    cJSON_AddStringToObject(o, "status", running ? "running" : "concluded");
    cJSON_AddNumberToObject(o, "current-progress", !running);
    cJSON_AddNumberToObject(o, "total-progress", 1);
    if (!running && *c.job.error)
        cJSON_AddStringToObject(o, "error", c.job.error);
    cJSON_AddItemToArray(list, o);
    return list;
}

static cJSON *job_dismiss(const cJSON *args, char err[ERR_BYTES]) {
    const char *id = text_of(args, "id");
    if (!id || !*c.job.id || strcmp(id, c.job.id))
        snprintf(err, ERR_BYTES, "Job not found");
    else if (c.job.running && !c.job.typed)
        snprintf(err, ERR_BYTES, "Job '%s' in state 'running' cannot accept command verb 'dismiss'", id);
    else
        *c.job.id = 0;
    return NULL;
}

/* --- human-monitor-command -------------------------------------------------------------------- */
/* savevm and loadvm: the answer comes when the machine has been saved, or has gone back, as a text that is empty if all
 * is well. */
static bool typed_job(const char *tag, bool loads, char err[ERR_BYTES]) {
    if (c.job.running) {
        snprintf(err, ERR_BYTES, "a job runs already: there is one at a time");
        return false;
    }
    if (!tag_is_right(*tag ? tag : NULL, loads, err) ||
        !(loads ? save_go_back : save_ask)(c.machine, job_end, NULL, err))
        return false;
    c.job.running = c.job.typed = c.job.waited_for = true;
    c.job.loads = loads;
    c.later = &c.job.answer_id;
    return true;
}

/* What is behind the word that the line begins with; NULL: it begins with another. */
static const char *behind(const char *line, const char *word) {
    size_t len = strlen(word);
    if (strncmp(line, word, len) || (line[len] && line[len] != ' '))
        return NULL;
    return line + len + strspn(line + len, " ");
}

/* What controls the machine, and does so here as by a message. False: it is none of these. */
static bool typed_control(const char *line, char err[ERR_BYTES]) {
    static const struct {
        const char *word;
        cJSON *(*run)(const cJSON *args, char err[ERR_BYTES]);
    } same[] = {{"stop", stop}, {"cont", cont}, {"c", cont}, {"system_powerdown", system_powerdown}};
    const char *saves = behind(line, "savevm"), *loads = behind(line, "loadvm");
    if (saves || loads) {
        typed_job(saves ? saves : loads, !saves, err);
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(same); i++)
        if (!strcmp(line, same[i].word)) {
            same[i].run(NULL, err);
            c.stop_is_typed = c.later == &c.stop_id;
            return true;
        }
    return false;
}

static char *typed(const char *line, unsigned vcpu) {
    char why[ERR_BYTES] = "", text[ERR_BYTES + 16] = "";
    if (!typed_control(line, why))
        return command_run(c.machine, vcpu, line);
    if (*why)
        snprintf(text, sizeof(text), "Error: %s\n", why);
    return strdup(text);
}

static cJSON *human_monitor_command(const cJSON *args, char err[ERR_BYTES]) {
    const cJSON *line = cJSON_GetObjectItemCaseSensitive(args, "command-line");
    const cJSON *index = cJSON_GetObjectItemCaseSensitive(args, "cpu-index");
    if (!cJSON_IsString(line)) {
        snprintf(err, ERR_BYTES, "Parameter 'command-line' is missing");
        return NULL;
    }
    if (index && (!cJSON_IsNumber(index) || index->valuedouble < 0 || index->valuedouble >= c.machine->vcpu_count)) {
        snprintf(err, ERR_BYTES, "Parameter 'cpu-index' expects a CPU number");
        return NULL;
    }
    char *text = typed(line->valuestring, index ? (unsigned)index->valuedouble : 0);
    cJSON *result = c.later ? NULL : cJSON_CreateString(text ? text : "");
    free(text);
    return result;
}

/* --- all of them ------------------------------------------------------------------------------ */
static const struct command {
    const char *name;
    cJSON *(*run)(const cJSON *args, char err[ERR_BYTES]);
    const char *args[4]; /* that it knows */
} commands[] = {
    {"qmp_capabilities", negotiate, {"enable"}},
    {"query-status", query_status, {0}},
    {"query-version", query_version, {0}},
    {"query-commands", query_commands, {0}},
    {"query-name", query_name, {0}},
    {"stop", stop, {0}},
    {"cont", cont, {0}},
    {"system_powerdown", system_powerdown, {0}},
    {"system_reset", system_reset, {0}},
    {"quit", quit, {0}},
    {"query-cpus-fast", query_cpus_fast, {0}},
    {"query-block", query_block, {0}},
    {"query-blockstats", query_blockstats, {"query-nodes"}},
    {"balloon", balloon, {"value"}},
    {"query-balloon", query_balloon, {0}},
    {"human-monitor-command", human_monitor_command, {"command-line", "cpu-index"}},
    {"snapshot-save", snapshot_save_job, {"job-id", "tag", "vmstate", "devices"}},
    {"snapshot-load", snapshot_load_job, {"job-id", "tag", "vmstate", "devices"}},
    {"query-jobs", query_jobs, {0}},
    {"job-dismiss", job_dismiss, {"id"}},
};

static cJSON *query_commands(const cJSON *args, char err[ERR_BYTES]) {
    cJSON *list = cJSON_CreateArray();
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", commands[i].name);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

/* --- what is received ------------------------------------------------------------------------- */
static const struct command *find(const char *name) {
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

/* The first member of an object that is none of those; NULL: there is none. */
static const char *stranger(const cJSON *o, const char *const *names, unsigned count) {
    for (const cJSON *i = o ? o->child : NULL; i; i = i->next) {
        unsigned n = 0;
        while (n < count && (!names[n] || strcmp(names[n], i->string)))
            n++;
        if (n == count)
            return i->string;
    }
    return NULL;
}

/* What is wrong with a message, before it is known what it asks for. */
static bool malformed(const cJSON *o, char err[ERR_BYTES]) {
    static const char *const members[] = {"execute", "arguments", "id"};
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(o, "arguments");
    if (!cJSON_IsObject(o))
        snprintf(err, ERR_BYTES, "QMP input must be a JSON object");
    else if (stranger(o, members, ARRAY_LEN(members)))
        snprintf(err, ERR_BYTES, "QMP input member '%.100s' is unexpected", stranger(o, members, ARRAY_LEN(members)));
    else if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(o, "execute")))
        snprintf(err, ERR_BYTES, "QMP input lacks member 'execute'");
    else if (args && !cJSON_IsObject(args))
        snprintf(err, ERR_BYTES, "QMP input member 'arguments' must be an object");
    else
        return false;
    return true;
}

static void run(const struct command *k, const cJSON *args, cJSON *id) {
    char err[ERR_BYTES] = "";
    const char *unknown = stranger(args, k->args, ARRAY_LEN(k->args));
    cJSON *result = NULL;
    if (unknown)
        snprintf(err, sizeof(err), "Parameter '%.100s' is unexpected", unknown);
    else
        result = k->run(args, err);
    c.negotiated |= k->run == negotiate && !*err;
    if (*err)
        send_error("GenericError", err, id);
    else if (c.later)
        *c.later = id;
    else
        send_answer("return", result, id);
    c.later = NULL;
}

static void on_message(const char *text, bool too_long) {
    char err[ERR_BYTES];
    cJSON *o = too_long ? NULL : cJSON_Parse(text);
    if (!o) {
        send_error("GenericError", too_long ? "a message has 65536 bytes at most" : "JSON parse error", NULL);
        return;
    }
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "execute");
    const struct command *k = cJSON_IsString(name) ? find(name->valuestring) : NULL;
    cJSON *id = cJSON_DetachItemFromObjectCaseSensitive(o, "id");
    if (malformed(o, err)) {
        send_error("GenericError", err, id);
    } else if (!c.negotiated && (!k || k->run != negotiate)) {
        send_error("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'", id);
    } else if (!k || (c.negotiated && k->run == negotiate)) {
        snprintf(err, sizeof(err), "The command %.100s has not been found", name->valuestring);
        send_error("CommandNotFound", err, id);
    } else {
        run(k, cJSON_GetObjectItemCaseSensitive(o, "arguments"), id);
    }
    cJSON_Delete(o);
}

static void on_data(void *arg, const uint8_t *data, size_t len) {
    for (; len && c.connected && c.machine; len--)
        if (json_split(&c.in, (char)*data++)) {
            on_message(c.in.message, c.in.too_long);
            c.in.len = 0;
            c.in.too_long = false;
        }
}

static void forget_client(void) {
    cJSON_Delete(c.stop_id);
    c.stop_id = NULL;
    forget_answer();
    c.connected = c.negotiated = c.stopping = c.stop_is_typed = false;
    c.in.len = c.in.depth = 0;
    c.in.text = c.in.escaped = c.in.too_long = false;
}

static void on_opened(void *arg) {
    forget_client();
    c.connected = true;
    cJSON *message = cJSON_CreateObject(), *qmp = cJSON_AddObjectToObject(message, "QMP");
    cJSON_AddItemToObject(qmp, "version", version());
    cJSON_AddArrayToObject(qmp, "capabilities");
    send_message(message);
}

static void on_closed(void *arg) { forget_client(); }

static void on_held(struct machine *m, bool held, void *arg) {
    send_event(held ? "STOP" : "RESUME", NULL);
    answer_stop();
}

/* --- the run ---------------------------------------------------------------------------------- */
bool control_open(const struct options *o, char err[ERR_BYTES]) {
    static const struct stream_ops ops = {on_opened, on_data, on_closed};
    if (!o->control)
        return true;
    c.first = true;
    return (c.stream = stream_open("--control", o->control, &ops, NULL, err)) != NULL;
}

bool control_attach(struct machine *m) {
    if (!c.stream)
        return true;
    answer_stop();
    if (!c.job.loads)
        job_end(NULL, "the machine has ended");
    c.machine = m;
    if (m) {
        pause_listen(m, on_held, NULL);
        if (!c.first && !c.job.loads)
            send_event("RESET", cause(!c.asked_reset, c.asked_reset ? "host-qmp-system-reset" : "guest-reset"));
        c.first = c.asked_reset = false;
    }
    return stream_attach(c.stream, m);
}

void control_ended(enum machine_state state) {
    if (!c.stream)
        return;
    bool guest = state == MACHINE_POWEROFF || state == MACHINE_RESET;
    send_event("SHUTDOWN", cause(guest || state == MACHINE_PANICKED, state == MACHINE_PANICKED ? "guest-panic"
                                                                     : state == MACHINE_RESET  ? "guest-reset"
                                                                     : guest                   ? "guest-shutdown"
                                                                     : c.asked_quit            ? "host-qmp-quit"
                                                                                               : "host-signal"));
    stream_close(c.stream);
    cJSON_Delete(c.stop_id);
    forget_answer();
    c = (struct control){0};
}
