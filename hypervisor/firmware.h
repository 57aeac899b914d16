/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* firmware.h: what a machine has for firmware: flash, fw_cfg, and how it starts with it. */
#ifndef GRAFT_FIRMWARE_H
#define GRAFT_FIRMWARE_H

#include "hypervisor/monitor.h"

/* firmware_is_given(): does the machine start in firmware of the user's? Then the kernel, if there is one, is for the
 * firmware. */
bool firmware_is_given(const struct options *o);
/* firmware_open(): the files of the flash banks and those for fw_cfg, once for all lives of the machine. False and err
 * if one cannot be had. firmware_close(): what is read of them. */
bool firmware_open(const struct options *o, const struct board *b, char err[ERR_BYTES]);
void firmware_close(void);
/* firmware_flash(): a bank. What is in flash stays when the guest resets. */
struct device *firmware_flash(struct machine *m, unsigned bank);
/* firmware_fw_cfg(): with what the user wants to be in it. */
struct device *firmware_fw_cfg(struct machine *m, char err[ERR_BYTES]);
/* firmware_boot(): the machine starts in flash; kernel, initial RAM disk and command line are in fw_cfg. */
bool firmware_boot(struct machine *m, const struct file *kernel, const struct file *initrd, char err[ERR_BYTES]);

#endif
