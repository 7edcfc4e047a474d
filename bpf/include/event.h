/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs tell of drops, for who listens (linux/datapath/events.go). */
#pragma once

#include "icmp.h"

#define EVENTS_PER_UNIT 200
#define EVENT_HEAD 62 /* Ethernet, IPv6, and 8 bytes of what follows */

struct event {
	u8 place, why;
	u8 head[EVENT_HEAD];
	u32 link, came, length, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bucket);
} told_of SEC(".maps");
