/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* host.h: what the host's processor must have, and may have: one list for the monitor, 'graft info' and the backend. */
#ifndef GRAFT_HOST_H
#define GRAFT_HOST_H

#include "graft/base.h"

#define HOST_FEATURE(id, name, needed, leaf, reg, bit, state) HOST_##id,
enum host_feature {
#include "graft/host_features.def"
    HOST_FEATURES
};
#undef HOST_FEATURE

/* host_has(): the processor has it, and the system keeps the state that belongs to it. */
bool host_has(enum host_feature f);
const char *host_feature_name(enum host_feature f);
bool host_feature_needed(enum host_feature f);
/* host_lacks(): a needed feature that this host does not have, HOST_FEATURES if there is none. */
enum host_feature host_lacks(void);

#endif
