/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* root.c: graft root: a shell script (root.sh), which is part of this program (root_image.S). */
#include "hypervisor/exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS 64

int root_main(char **args) {
    extern const char root_script[];
    char self[4096], *cache = exec_cache(""),
                     *argv[MAX_ARGS + 5] = {(char *)"sh", (char *)"-c", (char *)root_script, (char *)"graft"};
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    unsigned n = 0;
    for (; args && args[n] && n < MAX_ARGS; n++)
        argv[4 + n] = args[n];
    self[len < 0 ? 0 : len] = 0;
    if (cache)
        cache[strlen(cache) - 1] = 0; /* the slash at its end */
    if (cache && len > 0 && !setenv("GRAFT", self, 1) && !setenv("CACHE", cache, 1))
        execv("/bin/sh", argv);
    fprintf(stderr, "graft: root: %s\n", cache ? strerror(errno) : "neither XDG_CACHE_HOME nor HOME is set");
    free(cache);
    return 1;
}
