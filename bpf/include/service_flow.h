/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The flow table of services, for clients that are served packet by packet; the twin is model/datapath/service.go. */
#pragma once

#include "flow.h"
#include "service.h"

/* A row of the flow table of services: flows between a client and the address of a service, and the backend of each. A row is found by
 * the client's address and port alone, so one entry serves both directions. */
struct service_row {
	struct bpf_spin_lock lock; /* as struct flow_row */
	u32 pad;
	struct flow flow[FLOW_WAYS];
	struct service_seat seat[FLOW_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096); /* a power of two; the loader may choose another one */
	__type(key, u32);
	__type(value, struct service_row);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_flows SEC(".maps");

const volatile u32 service_flow_mask = 4095; /* rows less one */

/* One packet between a client and a service: how the client sees it, and whom it is led to. */
struct service_sight {
	struct sight p;
	union addr client;
	struct service_seat seat;
	u16 port; /* of the client */
	u16 shown_port; /* of the service */
	u32 from_client;
	union addr shown; /* the service's address */
};

/* client_hash finds the row of a client, and the place in a table for its connection to a service. */
INLINE u32 client_hash(const union addr *client, u32 port, u32 proto, u64 more)
{
	u64 h = service_mix(client->d[0] ^ more);

	h = service_mix(h ^ client->d[1]);
	return service_mix(h ^ (u64)proto << 16 ^ bpf_ntohs(port));
}

INLINE struct service_row *service_row(const struct service_sight *s)
{
	u32 row = client_hash(&s->client, s->port, s->p.key.proto, s->p.seed) & service_flow_mask;

	return bpf_map_lookup_elem(&service_flows, &row);
}

/* is_clients tells whether a flow is the client's by this port, whatever the service. */
INLINE int is_clients(const struct flow *f, const struct service_sight *s)
{
	if (f->key.proto != s->p.key.proto)
		return 0;
	return (f->key.a_port == s->port && addr_equal(&f->key.a, &s->client)) ||
	       (f->key.b_port == s->port && addr_equal(&f->key.b, &s->client));
}

/* service_sent finds the flow that what a client sends belongs to, and fills in the backend: PASS_..., or 0 when there is none. With again no
 * packet of the flow came, but a message about it: the flow stays as it is. */
GLOBAL int service_sent(struct service_sight *s, u32 again)
{
	struct service_row *r;
	int ok = 0;

	if (!s)
		return 0;
	r = service_row(s);
	if (!r)
		return 0;
	bpf_spin_lock(&r->lock);
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &r->flow[i];

		if (ok || words_differ(&f->key, &s->p.key) || is_gone(f, s->p.now))
			continue;
		if (!again) {
			if (f->state == FLOW_CLOSING && begins(&s->p))
				continue;
			touch(f, &s->p, s->p.now);
		}
		s->seat = r->seat[i];
		ok = passed(f);
	}
	bpf_spin_unlock(&r->lock);
	return ok;
}

/* service_answered finds the flow whose backend is the seat's, and fills in what the client talks to; 0 when there is none. again is
 * set when no packet of the flow came, but a message about it. */
GLOBAL int service_answered(struct service_sight *s, u32 again)
{
	struct service_row *r;
	int ok = 0;

	if (!s)
		return 0;
	r = service_row(s);
	if (!r)
		return 0;
	bpf_spin_lock(&r->lock);
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &r->flow[i];
		int client_is_a;

		if (ok || r->seat[i].backend.port != s->seat.backend.port || !addr_equal(&r->seat[i].backend.addr, &s->seat.backend.addr) ||
		    is_gone(f, s->p.now) || !is_clients(f, s))
			continue;
		client_is_a = f->key.a_port == s->port && addr_equal(&f->key.a, &s->client);
		s->shown = client_is_a ? f->key.b : f->key.a;
		s->shown_port = client_is_a ? f->key.b_port : f->key.a_port;
		s->p.from_a = !client_is_a;
		if (!again)
			touch(f, &s->p, s->p.now);
		ok = 1;
	}
	bpf_spin_unlock(&r->lock);
	return ok;
}

/* service_note notes a flow and its backend; 0 when there is no room. Another flow of the client's port to the same backend ends:
 * answers to it could not be told from those to this one. */
GLOBAL int service_note(const struct service_sight *s, u32 owner)
{
	struct service_row *r;
	struct flow *to;
	int ok = 0;

	if (!s)
		return 0;
	if (s->p.key.proto == PROTO_TCP && (s->p.flags & TCP_RST))
		return 1; /* it ends what is not known */
	r = service_row(s);
	if (!r)
		return 0;
	bpf_spin_lock(&r->lock);
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &r->flow[i];

		if (f->state == FLOW_FREE || !is_clients(f, s))
			continue;
		if (!words_differ(&f->key, &s->p.key) ||
		    (r->seat[i].backend.port == s->seat.backend.port && addr_equal(&r->seat[i].backend.addr, &s->seat.backend.addr)))
			f->state = FLOW_FREE;
	}
	to = room((struct flow_row *)r, owner, s->p.now);
#pragma unroll
	for (int i = 0; i < FLOW_WAYS; i++) {
		struct flow *f = &r->flow[i];

		if (f != to)
			continue;
		f->key = s->p.key;
		f->owner = owner;
		f->link = f->generation = 0;
		begin(f, &s->p);
		touch(f, &s->p, s->p.now);
		r->seat[i] = s->seat;
		ok = 1;
	}
	bpf_spin_unlock(&r->lock);
	return ok;
}
