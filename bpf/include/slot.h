/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The one slot through which a generation of programs is switched, and what the stubs tell the generation behind it.
 *
 * A stub hangs on every link and is never replaced: it says where the packet was met and calls the slot. These numbers are
 * shared by generations, so they never change meaning.
 */
#pragma once

#include "hexapod.h"

/* Where a stub hangs. It is handed over in skb->cb[CB_PLACE]. */
enum place {
	FROM_ENDPOINT = 0, /* ingress of the host side of an endpoint's link: what the endpoint sends */
	FROM_UPLINK = 1,   /* ingress of an uplink: what arrives */
	TO_ENDPOINT = 2,   /* egress of the host side of an endpoint's link: what the kernel delivers */
};

#define CB_PLACE 0
#define CB_WHY 1 /* test runs read here why a packet ended as it did */

#define SLOT_ENTRY 0 /* the one entry of the map slot: the entry program of the generation that is in use */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} slot SEC(".maps");
