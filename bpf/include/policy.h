/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Where policy decides: once per flow and generation. The twins are model/datapath/policy.go and model/policy/table.go. A table never
 * changes once an endpoint has it: another policy is another table under another number.
 */
#pragma once

#include "flow.h"
#include "who.h"

/* A set of rows of a table, row 0 in the lowest bit of the first word (model/policy.Bits) */
#define ROW_WORDS 8

struct rows {
	u64 w[ROW_WORDS];
};

/* model/policy.Image */
struct policy_table {
	struct rows anyone, outside, any_port, deny;
	struct rows pass[2], behind[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct policy_table);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} policy_tables SEC(".maps");

/* Rows that match by the number of the other end */
struct policy_peer {
	u32 table;
	u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 20);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_peer);
	__type(value, struct rows);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} policy_peers SEC(".maps");

/* Rows that match by its address: the longest prefix holds */
struct policy_prefix {
	u32 bits; /* 32 of the table, then those of the address */
	u32 table;
	union addr addr;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_prefix);
	__type(value, struct rows);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} policy_prefixes SEC(".maps");

/* Rows that match by protocol and port of the destination: ranges, cut into prefixes of the number */
struct policy_port {
	u32 bits; /* 32 of the table, 16 of the protocol, then those of the port */
	u32 table;
	u16 proto;
	u16 port; /* network order */
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_port);
	__type(value, struct rows);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} policy_ports SEC(".maps");

/* The tables of an address of this host. One without an entry has no policies yet: nothing passes. */
struct policy_subject {
	u32 ingress, egress;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, union addr);
	__type(value, struct policy_subject);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} policy_subjects SEC(".maps");

/* Room for what one decision needs: the stack is short. One per CPU, for nothing interrupts a program of traffic control by another. */
struct policy_room {
	struct rows set;
	struct policy_prefix by_addr;
	struct policy_port by_port;
	struct policy_peer by_number;
	struct inside_key by_region;
	struct pair pair;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct policy_room);
} policy_rooms SEC(".maps");

INLINE struct policy_room *policy_room(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&policy_rooms, &zero);
}

/* first tells what the first row of a set does: 0 accept, 1 deny, 2 and 3 pass to what stands behind. An empty set denies. */
INLINE int first(const struct rows *set, const struct policy_table *t)
{
	for (int i = 0; i < ROW_WORDS; i++) {
		u64 low = set->w[i] & -set->w[i];

		if (!low)
			continue;
		if (t->pass[0].w[i] & low)
			return 2;
		if (t->pass[1].w[i] & low)
			return 3;
		return !!(t->deny.w[i] & low);
	}
	return 1;
}

/* decide asks one table about the other end of a flow: 0 accept, 1 deny. proto and port are those of the destination. */
GLOBAL int decide(u32 table, const union addr *other, u32 proto, u32 port)
{
	struct policy_room *room = policy_room();
	struct rows *set, *peers, *prefixes, *ports;
	struct policy_table *t;
	int outside, what;
	u32 who;

	t = bpf_map_lookup_elem(&policy_tables, &table);
	if (!t || !room || !other)
		return 1;
	who = who_has(other, &room->by_region);
	outside = who == WHO_OUTSIDE;
	room->by_number = (struct policy_peer){ .table = table, .number = who };
	peers = bpf_map_lookup_elem(&policy_peers, &room->by_number);
	room->by_addr.bits = 160;
	room->by_addr.table = table;
	room->by_addr.addr = *other;
	prefixes = bpf_map_lookup_elem(&policy_prefixes, &room->by_addr);
	room->by_port.bits = 64;
	room->by_port.table = table;
	room->by_port.proto = proto;
	room->by_port.port = port;
	ports = bpf_map_lookup_elem(&policy_ports, &room->by_port);
	set = &room->set;
	for (int i = 0; i < ROW_WORDS; i++) {
		u64 w = t->anyone.w[i], p = t->any_port.w[i];

		if (outside)
			w |= t->outside.w[i];
		if (peers)
			w |= peers->w[i];
		if (prefixes)
			w |= prefixes->w[i];
		if (ports)
			p |= ports->w[i];
		set->w[i] = w & p;
	}
	what = first(set, t);
	if (what == 2) {
		for (int i = 0; i < ROW_WORDS; i++)
			set->w[i] &= t->behind[0].w[i];
		what = first(set, t);
	}
	if (what == 3) {
		for (int i = 0; i < ROW_WORDS; i++)
			set->w[i] &= t->behind[1].w[i];
		what = first(set, t);
	}
	return what != 0;
}

/* policy tells whether a flow may go on or begin; 0 or the reason to drop. A flow that is there was begun by one of its ends, as flow_pass
 * told: it is judged as that end's, also when the other one sends first after a change of policy. */
GLOBAL int policy(const struct sight *p, u32 enforced, u32 began)
{
	struct policy_room *room = policy_room();
	struct policy_subject *s;
	int from_a;
	u32 port;

	if (!p || !room)
		return WHY_DENIED;
	from_a = p->from_a;
	if (began & (PASS_BEGAN_A | PASS_BEGAN_B))
		from_a = began & PASS_BEGAN_A;
	room->pair.from = from_a ? p->key.a : p->key.b;
	room->pair.to = from_a ? p->key.b : p->key.a;
	port = from_a ? p->key.b_port : p->key.a_port;
	if (bpf_map_lookup_elem(&denied, &room->pair))
		return WHY_DENIED;
	if (!enforced)
		return 0;
	s = bpf_map_lookup_elem(&policy_subjects, &room->pair.from);
	if (s ? decide(s->egress, &room->pair.to, p->key.proto, port) : endpoint_of(&room->pair.from) != 0)
		return WHY_DENIED;
	s = bpf_map_lookup_elem(&policy_subjects, &room->pair.to);
	if (s ? decide(s->ingress, &room->pair.from, p->key.proto, port) : endpoint_of(&room->pair.to) != 0)
		return WHY_DENIED;
	return 0;
}
