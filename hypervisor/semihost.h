/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* semihost.h: the folder of --semihosting-files (semihost_files.c). */
#ifndef GRAFT_HYPERVISOR_SEMIHOST_H
#define GRAFT_HYPERVISOR_SEMIHOST_H

#include "hypervisor/monitor.h"

/* semihost_folder_open(): before the sandbox. True, too, if there is to be none. */
bool semihost_folder_open(const struct options *o, char err[ERR_BYTES]);
void semihost_folder_close(void);
int semihost_folder(bool *readonly); /* its descriptor, -1: there is none */

/* Of names in there, in a vCPU's thread; -errno, or the descriptor or 0. mode: of SYS_OPEN, below 12. */
int semihost_file_open(const char *name, unsigned mode);
int semihost_file_remove(const char *name);
int semihost_file_rename(const char *from, const char *to);

#endif
