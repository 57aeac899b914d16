/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtio_legacy.c: virtio.c by version 1 of the transport. */
/* options: drive=1 legacy=1 */
#define LEGACY 1
#include "virtio.c"
