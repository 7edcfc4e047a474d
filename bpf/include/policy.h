/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Where policy decides: once per flow and generation, about the packet that begins it. */
#pragma once

#include "state.h"

/* policy tells whether a flow may begin; 0 or the reason to drop. */
INLINE int policy(const union addr *from, const union addr *to)
{
	struct pair p = { .from = *from, .to = *to };

	return bpf_map_lookup_elem(&denied, &p) ? WHY_DENIED : 0;
}
