/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guests.c: the guest ISAs that there are. abi_boot.guest is an index in here. */
#include "graft/guest.h"

extern const struct guest_ops a64_guest, rv64_guest;

const struct guest_ops *const guest_table[] = {&a64_guest, &rv64_guest};
const unsigned guest_count = ARRAY_LEN(guest_table);
