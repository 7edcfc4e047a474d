/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which backend a call to a service gets. The readable twin of every function here is model/service.Translator.
 *
 * A frontend leads to a table by a number. The table holds its backends and the places that lead to them in one value, so one
 * write replaces all of it at once: there is no moment in which a service has half its backends, or none. IPv4 addresses are
 * written as IPv4-mapped ones (RFC 4291 2.5.5.2), so that both families share the maps.
 */
#pragma once

#include "hexapod.h"

/* The compiler may not reason about x from here on: the verifier wants checks where the compiler would move or merge them. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* What a client connects to. Port 0 of protocol 0 says that the address belongs to a service, whatever the port. */
struct service_key {
	union addr addr;
	__be16 port;
	u8 protocol;
	u8 zero[5];
};

/* With this bit in its protocol, which no protocol with ports has, a key says who answers while nobody listens at the frontend's backend, which is a server of this host. */
#define SERVICE_ELSEWHERE 0x40

#define SERVICE_EMPTY 1 /* flag: nobody answers; clients are refused at once */

struct service {
	u32 id; /* of its table, for as long as the service has this address and port */
	u32 affinity; /* seconds a silent client keeps its backend; 0: none */
	u8 class; /* which of the maps service_table_* holds the table */
	u8 flags;
	u8 zero[6];
};

struct service_backend {
	union addr addr; /* all zero: the slot is free */
	__be16 port;
	u8 zero[6];
};

/* A backend and its slot in the table: by the slot, whoever remembers the backend sees whether it still lives. */
struct service_seat {
	struct service_backend backend;
	u32 slot;
	u32 seen; /* second of the coarse clock; used by service_affinity alone */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_frontends SEC(".maps");

/* Tables by their size: places are prime in number, and at least a hundred for each backend (model/service.Class). */
#define SERVICE_TABLE(SIZE, BACKENDS, MAX)                                                                                       \
	struct service_table_##SIZE {                                                                                            \
		struct service_backend backend[BACKENDS];                                                                        \
		u8 place[(SIZE + 7) / 8 * 8];                                                                                    \
	};                                                                                                                       \
	struct {                                                                                                                 \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                                 \
		__uint(max_entries, MAX);                                                                                        \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                            \
		__type(key, u32);                                                                                                \
		__type(value, struct service_table_##SIZE);                                                                      \
		__uint(pinning, LIBBPF_PIN_BY_NAME);                                                                             \
	} service_table_##SIZE SEC(".maps");                                                                                     \
	INLINE int service_pick_##SIZE(u32 id, u32 hash, struct service_seat *seat)                                              \
	{                                                                                                                        \
		struct service_table_##SIZE *t = bpf_map_lookup_elem(&service_table_##SIZE, &id);                                \
		if (!t)                                                                                                          \
			return -1;                                                                                               \
		OPAQUE(t);                                                                                                       \
		u32 at = hash % SIZE;                                                                                            \
		OPAQUE(at); /* the verifier does not follow a division */                                                        \
		if (at >= SIZE)                                                                                                  \
			return -1;                                                                                               \
		u32 slot = t->place[at];                                                                                         \
		if (slot >= BACKENDS)                                                                                            \
			return -1;                                                                                               \
		seat->backend = t->backend[slot];                                                                                \
		seat->slot = slot;                                                                                               \
		return 0;                                                                                                        \
	}                                                                                                                        \
	INLINE struct service_backend *service_slot_##SIZE(u32 id, u32 slot)                                                     \
	{                                                                                                                        \
		struct service_table_##SIZE *t = bpf_map_lookup_elem(&service_table_##SIZE, &id);                                \
		if (!t || slot >= BACKENDS)                                                                                      \
			return 0;                                                                                                \
		OPAQUE(t);                                                                                                       \
		return &t->backend[slot];                                                                                        \
	}

SERVICE_TABLE(251, 2, 262144)
SERVICE_TABLE(1021, 10, 262144)
SERVICE_TABLE(4093, 40, 65536)
SERVICE_TABLE(16381, 163, 16384)

/* The largest tables are too long for a map to allocate them in a packet's time: each is a map of its own, of one value. */
#define SERVICE_LARGEST 65521
#define SERVICE_LARGEST_BACKENDS 6552

struct service_table_65521 {
	struct service_backend backend[SERVICE_LARGEST_BACKENDS];
	u16 place[SERVICE_LARGEST + 3];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(u32)); /* sizes, not types: the compiler does not describe the types of an inner map */
		__uint(value_size, sizeof(struct service_table_65521));
	});
} service_table_65521 SEC(".maps");

INLINE struct service_table_65521 *service_largest(u32 id)
{
	u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&service_table_65521, &id);

	return inner ? bpf_map_lookup_elem(inner, &zero) : 0;
}

INLINE int service_pick_65521(u32 id, u32 hash, struct service_seat *seat)
{
	struct service_table_65521 *t = service_largest(id);

	if (!t)
		return -1;
	OPAQUE(t);
	u32 at = hash % SERVICE_LARGEST;
	OPAQUE(at);
	if (at >= SERVICE_LARGEST)
		return -1;
	u32 slot = t->place[at];
	if (slot >= SERVICE_LARGEST_BACKENDS)
		return -1;
	seat->backend = t->backend[slot];
	seat->slot = slot;
	return 0;
}

INLINE struct service_backend *service_slot_65521(u32 id, u32 slot)
{
	struct service_table_65521 *t = service_largest(id);

	if (!t || slot >= SERVICE_LARGEST_BACKENDS)
		return 0;
	OPAQUE(t);
	return &t->backend[slot];
}

/* service_pick is Table.Pick. It fails when the table is gone: the frontend has changed meanwhile and must be read again. */
INLINE int service_pick(const struct service *s, u32 hash, struct service_seat *seat)
{
	switch (s->class) {
	case 0:
		return service_pick_251(s->id, hash, seat);
	case 1:
		return service_pick_1021(s->id, hash, seat);
	case 2:
		return service_pick_4093(s->id, hash, seat);
	case 3:
		return service_pick_16381(s->id, hash, seat);
	case 4:
		return service_pick_65521(s->id, hash, seat);
	}
	return -1;
}

/* service_holds is Table.Holds: whether a backend that was remembered still lives. */
INLINE int service_holds(const struct service *s, const struct service_seat *seat)
{
	struct service_backend *b = 0;

	switch (s->class) {
	case 0:
		b = service_slot_251(s->id, seat->slot);
		break;
	case 1:
		b = service_slot_1021(s->id, seat->slot);
		break;
	case 2:
		b = service_slot_4093(s->id, seat->slot);
		break;
	case 3:
		b = service_slot_16381(s->id, seat->slot);
		break;
	case 4:
		b = service_slot_65521(s->id, seat->slot);
		break;
	}
	return b && b->port == seat->backend.port && addr_equal(&b->addr, &seat->backend.addr);
}

/* Who a client is where a service keeps each at its backend: the cookie of a socket's network namespace, or a packet's source. */
struct service_client {
	union addr addr;
	u32 id; /* of the frontend's table */
	u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_client);
	__type(value, struct service_seat);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_affinity SEC(".maps");

/* Where a socket that is not connected sends to. */
struct service_sender {
	u64 socket;
	u32 id;
	u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_sender);
	__type(value, struct service_seat);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_senders SEC(".maps");

enum service_action {
	SERVICE_PASS = 0,
	SERVICE_TRANSLATE = 1,
	SERVICE_REFUSE = 2,
};

/* One question: a socket or a packet wants to reach a key. */
struct service_call {
	struct service_key key;
	union addr client;
	u64 socket;
	u32 random;
	u32 now; /* seconds of the coarse clock */
	u32 sends; /* a datagram of a socket that is not connected; whoever never has such says so to service_translate */
	u32 zero;
};

INLINE u64 service_mix(u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* service_choose finds the backend for a call to the frontend s. */
INLINE int service_choose(const struct service_call *c, int sends, const struct service *s, struct service_seat *seat)
{
	struct service_sender sender = { .socket = c->socket, .id = s->id };
	struct service_client client = { .addr = c->client, .id = s->id };
	struct service_seat *old;
	int known = 0;

	if (sends) {
		old = bpf_map_lookup_elem(&service_senders, &sender);
		if (old && service_holds(s, old)) {
			*seat = *old;
			return 0;
		}
	}
	if (s->affinity) {
		old = bpf_map_lookup_elem(&service_affinity, &client);
		if (old && c->now - old->seen <= s->affinity && service_holds(s, old)) {
			*seat = *old;
			known = 1;
		}
	}
	if (!known) {
		u32 hash = c->random;

		if (sends) /* a socket that was forgotten finds the same backend again */
			hash = service_mix(c->socket ^ (u64)s->id << 32);
		if (service_pick(s, hash, seat))
			return -1;
	}
	seat->seen = c->now;
	if (s->affinity)
		bpf_map_update_elem(&service_affinity, &client, seat, BPF_ANY);
	if (sends)
		bpf_map_update_elem(&service_senders, &sender, seat, BPF_ANY);
	return 0;
}

/* service_owns reports whether an address belongs to a service, whatever the port: one look for what is none, which is most. */
INLINE int service_owns(const union addr *addr)
{
	struct service_key any = { .addr = *addr };

	return bpf_map_lookup_elem(&service_frontends, &any) != 0;
}

/* service_of is the frontend of a key, or 0. */
INLINE struct service *service_of(const struct service_key *key)
{
	return bpf_map_lookup_elem(&service_frontends, key);
}

/* service_answer is Translator.Translate, by the frontend s of the call's key. seat is filled for SERVICE_TRANSLATE alone. */
INLINE enum service_action service_answer(const struct service_call *c, int sends, struct service *s, struct service_seat *seat)
{
	for (int i = 0; i < 2; i++) { /* a table that moves to a larger size is met by the second look */
		if (!s)
			return service_owns(&c->key.addr) ? SERVICE_REFUSE : SERVICE_PASS;
		if (s->flags & SERVICE_EMPTY)
			return SERVICE_REFUSE;
		struct service copy = *s;

		if (!service_choose(c, sends, &copy, seat))
			return SERVICE_TRANSLATE;
		s = service_of(&c->key);
	}
	return SERVICE_REFUSE;
}

INLINE enum service_action service_translate(const struct service_call *c, int sends, struct service_seat *seat)
{
	return service_answer(c, sends, service_of(&c->key), seat);
}
