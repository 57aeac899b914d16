/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* snapshot_main.c: graft snapshot: what a user does with machines in files, and has a running one do. */
#include "hypervisor/snapshot.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* --- files ------------------------------------------------------------------------------------ */
static bool ram_is_right(const struct snapshot *s) {
    uint8_t *piece = malloc(SNAPSHOT_CHUNK);
    uint64_t sum = 0;
    bool ok = piece != NULL;
    for (uint32_t i = 0; ok && i < s->head.chunks; i++) {
        ok = snapshot_read(s, piece, s->head.ram_at + (uint64_t)i * SNAPSHOT_CHUNK, SNAPSHOT_CHUNK);
        sum = snapshot_sum(sum, piece, SNAPSHOT_CHUNK);
    }
    free(piece);
    return ok && sum == s->head.ram_sum;
}

static void print_config(const struct snapshot_config *c) {
    char when[64] = "";
    const struct board *board = board_named(c->board);
    time_t t = (time_t)c->created;
    struct tm tm;
    if (localtime_r(&t, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    printf("saved    %s by graft %s\nmachine  --guest %s --memory %lluM --smp %u --gic %u --cpu %s --net %s%s%s%s%s\n",
           when, c->graft, c->board, (unsigned long long)(c->memory >> 20), c->smp, c->gic,
           board ? board_cpu(board, c->cpu) : "?", c->net ? "user" : "none", c->console ? ", a virtio console" : "",
           c->legacy ? ", --virtio-mmio legacy" : "", c->semihosting ? ", --semihosting" : "",
           c->balloon ? ", --balloon" : "");
    if (c->vsock)
        printf("vsock    CID %u\n", c->vsock);
    for (unsigned i = 0; i < c->drives; i++)
        printf("disk     %s%s\n", c->disk[i].path, c->disk[i].readonly ? ",ro" : "");
    for (unsigned i = 0; i < c->shares; i++)
        printf("folder   %s\n", c->tag[i]);
}

static int complain(const char *why) {
    fprintf(stderr, "graft: %s\n", why);
    return 1;
}

static int info(const char *path) {
    char err[ERR_BYTES];
    struct snapshot *s = snapshot_open(path, err);
    if (!s)
        return complain(err);
    print_config(&s->config);
    bool right = ram_is_right(s);
    printf("memory   %u MiB in the file, %s\n", s->head.chunks, right ? "as it was saved" : "damaged");
    snapshot_close(s);
    return !right;
}

/* Nothing but a snapshot: a wrong name is soon typed. */
static int rm(const char *path) {
    char err[ERR_BYTES];
    struct snapshot *s = snapshot_open(path, err);
    if (!s)
        return complain(err);
    snapshot_close(s);
    if (!unlink(path))
        return 0;
    snprintf(err, sizeof(err), "%.160s: %s", path, strerror(errno));
    return complain(err);
}

/* --- a machine that runs: its --control ------------------------------------------------------- */
#define JOB "graft-snapshot"

struct client {
    FILE *in;
    int fd;
    bool aborted, over; /* the job */
    char *line;
    size_t room;
};

static const char *text_in(const cJSON *o, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    return text ? text : "";
}

static void note_event(struct client *c, const cJSON *message) {
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(message, "data");
    if (strcmp(text_in(message, "event"), "JOB_STATUS_CHANGE") || strcmp(text_in(data, "id"), JOB))
        return;
    c->aborted |= !strcmp(text_in(data, "status"), "aborting");
    c->over |= !strcmp(text_in(data, "status"), "concluded");
}

/* The next message; NULL: there is none any more. */
static cJSON *receive(struct client *c) {
    cJSON *message = getline(&c->line, &c->room, c->in) > 0 ? cJSON_Parse(c->line) : NULL;
    if (message)
        note_event(c, message);
    return message;
}

/* The answer to a command; NULL: none came. */
static cJSON *ask(struct client *c, const char *command) {
    cJSON *message = NULL;
    bool sent = send(c->fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command);
    while (sent && (message = receive(c)) && cJSON_HasObjectItem(message, "event"))
        cJSON_Delete(message);
    return message;
}

/* It is an error, or nothing: that goes to err. */
static bool refuses(struct client *c, const char *command, char err[ERR_BYTES]) {
    cJSON *answer = ask(c, command);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(answer, "error");
    bool refused = !answer || error;
    if (refused)
        snprintf(err, ERR_BYTES, "%.200s", answer ? text_in(error, "desc") : "the run has hung up");
    cJSON_Delete(answer);
    return refused;
}

static void find_error(struct client *c, char err[ERR_BYTES]) {
    cJSON *answer = ask(c, "{\"execute\":\"query-jobs\"}");
    const cJSON *job = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(answer, "return"), 0);
    snprintf(err, ERR_BYTES, "%.200s", *text_in(job, "error") ? text_in(job, "error") : "it could not be saved");
    cJSON_Delete(answer);
}

static bool save_by(struct client *c, char err[ERR_BYTES]) {
    cJSON *message = receive(c); /* the greeting */
    bool greeted = cJSON_HasObjectItem(message, "QMP");
    cJSON_Delete(message);
    if (!greeted) {
        snprintf(err, ERR_BYTES, "nobody there speaks QMP");
        return false;
    }
    if (refuses(c, "{\"execute\":\"qmp_capabilities\"}", err) ||
        refuses(c, "{\"execute\":\"snapshot-save\",\"arguments\":{\"job-id\":\"" JOB "\"}}", err))
        return false;
    while (!c->over && (message = receive(c)))
        cJSON_Delete(message);
    if (!c->over)
        snprintf(err, ERR_BYTES, "the run has hung up");
    else if (c->aborted)
        find_error(c, err);
    bool ok = c->over && !c->aborted;
    if (c->over) /* a run that ends with it hears no more of this */
        cJSON_Delete(ask(c, "{\"execute\":\"job-dismiss\",\"arguments\":{\"id\":\"" JOB "\"}}"));
    return ok;
}

static bool reach(struct client *c, const char *place, char err[ERR_BYTES]) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", place + strlen("unix:"));
    if (c->fd >= 0 && !connect(c->fd, (struct sockaddr *)&a, sizeof(a)) && (c->in = fdopen(c->fd, "r")))
        return true;
    snprintf(err, ERR_BYTES, "%s", strerror(errno));
    if (c->fd >= 0)
        close(c->fd);
    return false;
}

static int save(const char *place) {
    struct client c = {0};
    char why[ERR_BYTES], err[ERR_BYTES];
    if (strncmp(place, "unix:", 5) || strlen(place + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        fputs("graft: snapshot: save wants unix:PATH, as --control of the run has it\n", stderr);
        return 2;
    }
    bool reached = reach(&c, place, why), ok = reached && save_by(&c, why);
    if (reached)
        fclose(c.in);
    free(c.line);
    if (ok)
        return 0;
    snprintf(err, sizeof(err), "%.120s: %.120s", place, why);
    return complain(err);
}

int snapshot_main(char **args) {
    static const struct {
        const char *name;
        int (*run)(const char *arg);
    } actions[] = {{"info", info}, {"rm", rm}, {"save", save}};
    unsigned n = 0;
    while (args && args[n])
        n++;
    for (unsigned i = 0; n == 2 && i < ARRAY_LEN(actions); i++)
        if (!strcmp(args[0], actions[i].name))
            return actions[i].run(args[1]);
    fputs("graft: snapshot: info FILE, rm FILE and save unix:PATH are what there is (try --help)\n", stderr);
    return 2;
}
