/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The slot of the translator: on a host that translates (bpf/nat64.c), packets that were judged and are left to the kernel's routes go
 * through it first. On all others it is empty, and the kernel has them at once.
 */
#pragma once

#include "hexapod.h"

#define CB_OUT 2 /* the link that packets are sent to, or that the kernel's routes have named for one; 0: nobody has asked */

#define TRANSLATE_ENTRY 0

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} translate SEC(".maps");
