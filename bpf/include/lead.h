/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Services packet by packet, for endpoints whose sockets the hooks of connect.c cannot see; the twin is model/datapath/service.go.
 *
 * All of it happens at the door of the client: what it sends to a service is led to a backend before anything else is asked, and what
 * comes for it is shown as the service's when nothing else is left to ask. Between its two doors a packet has the backend's
 * address: policy, flows and the kernel know no other.
 */
#pragma once

#include "icmp.h"
#include "forward.h"
#include "fragment.h"
#include "rewrite.h"
#include "service_flow.h"

#define CB_SERVICE 3 /* one of enum door; 0: no service has to do with the packet */

enum door {
	DOOR_LED = 1, /* it was sent to a service, and has a backend's address now */
	DOOR_NONE = 3, /* it is for no service: that was asked */
	DOOR_SHOW = 2, /* it may be an answer: it is shown as the service's where it is handed to the client */
};

/* The other end of fragments behind a first one that was translated. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, union addr);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_fragments SEC(".maps");

/* Room for what one packet needs: the stack is short. */
struct service_room {
	struct service_sight s;
	struct service_call call;
	struct fragment_key part;
	struct inner in;
	u8 answer[56];
	u32 anew; /* the flow is to be noted */
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct service_room);
} service_rooms SEC(".maps");

INLINE struct service_room *service_room(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&service_rooms, &zero);
}

INLINE struct settings *serving(void)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	return set && (set->flags & SETTING_SERVICES) ? set : 0;
}

INLINE u32 service_seconds(const struct settings *set)
{
	return test_clock ? set->now : (u32)(bpf_ktime_get_coarse_ns() / 1000000000);
}

/* sees makes a packet one between a client and a service. */
INLINE void sees(struct service_sight *s, const struct settings *set, const struct base *b, const struct header *h, u32 from_client)
{
	__builtin_memset(s, 0, sizeof(*s));
	s->p.from_a = key_of(&s->p.key, &b->src, &b->dst, h->src_port, h->dst_port, h->proto);
	s->p.flags = h->flags;
	s->p.seed = set->seed;
	s->p.now = clock_now(set);
	s->client = from_client ? b->src : b->dst;
	s->port = from_client ? h->src_port : h->dst_port;
}

/* keeps tells whether a known flow goes on to its backend, also when the service has it no more: connections do. Datagrams, and what was
 * never answered, go on to backends that live. */
INLINE int keeps(const struct service_room *r, int passes)
{
	struct service *s;
	struct service copy;

	if (r->s.p.key.proto != PROTO_UDP && !(passes & PASS_HALF_OPEN) && !begins(&r->s.p))
		return 1;
	s = bpf_map_lookup_elem(&service_frontends, &r->call.key);
	if (!s || (s->flags & SERVICE_EMPTY))
		return 0;
	copy = *s;
	return service_holds(&copy, &r->s.seat);
}

#define NO_SERVICE (-1)
#define LED_ANEW (-2) /* and the flow is to be noted, once it is let pass */

INLINE int is_led(u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

/* choose finds the backend of a packet to a service; 0, LED_ANEW, NO_SERVICE, or WHY_REFUSED. */
GLOBAL int choose(const struct base *b, const struct header *h)
{
	struct service_room *r = service_room();
	struct settings *set = serving();
	int passes;

	if (!r || !set || !b || !h || !is_led(h->proto))
		return NO_SERVICE;
	sees(&r->s, set, b, h, 1);
	r->s.p.service = 1;
	passes = service_sent(&r->s, 0);
	if (!passes && !service_owns(&b->dst))
		return NO_SERVICE;
	__builtin_memset(&r->call, 0, sizeof(r->call));
	r->call.key.addr = b->dst;
	r->call.key.port = h->dst_port;
	r->call.key.protocol = h->proto;
	if (passes && keeps(r, passes))
		return 0;
	r->call.client = b->src;
	r->call.now = service_seconds(set);
	r->call.random = client_hash(&b->src, h->src_port, h->proto, (u64)bpf_ntohs(h->dst_port) << 32 ^ b->dst.d[0] ^ b->dst.d[1]);
	switch (service_translate(&r->call, 0, &r->s.seat)) {
	case SERVICE_PASS:
		return NO_SERVICE;
	case SERVICE_REFUSE:
		return WHY_REFUSED;
	case SERVICE_TRANSLATE:
		return LED_ANEW;
	}
	return NO_SERVICE;
}

/* note_part notes for the fragments behind a first one what became of its other end. */
INLINE void note_part(struct service_room *r, const struct base *b, const struct header *h, const union addr *to)
{
	r->part.src = b->src;
	r->part.dst = b->dst;
	r->part.id = h->id;
	r->part.pad = 0;
	bpf_map_update_elem(&service_fragments, &r->part, to, BPF_ANY);
}

#define UNREACHABLE 1
#define NO_PORT 4
#define ANSWER_LEN 56 /* ICMPv6, and the headers it is about as far as the ports */

/* message_sum is the checksum of an ICMPv6 message of len bytes that has room behind it for ANSWER_LEN, all zero (RFC 8200 8.1): what goes
 * into the empty field, or 0 where it is there and right. */
INLINE u16 message_sum(const struct base *b, const u8 *message, u32 len)
{
	u32 pseudo[2] = { bpf_htonl(len), bpf_htonl(PROTO_ICMP) };
	long sum;

	sum = bpf_csum_diff(0, 0, (__be32 *)&b->src, 32, 0);
	sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), sum);
	sum = bpf_csum_diff(0, 0, (__be32 *)message, ANSWER_LEN, sum);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* turn_round puts the message in r->answer in place of a packet: of len bytes, between the ends that out names. Not 0: there is no room. */
INLINE int turn_round(struct __sk_buff *skb, struct base *out, struct service_room *r, u32 len)
{
	*(u16 *)(r->answer + 2) = 0;
	out->version = 6 << 4;
	out->flow[0] = out->flow[1] = out->flow[2] = 0;
	out->length = bpf_htons(len);
	out->next = PROTO_ICMP;
	*(u16 *)(r->answer + 2) = message_sum(out, r->answer, len);
	return bpf_skb_change_tail(skb, ETHER_LEN + IPV6_LEN + len, 0) ||
	       bpf_skb_store_bytes(skb, 0, out->dst_mac, ETHER_LEN + IPV6_LEN, 0) ||
	       bpf_skb_store_bytes(skb, ETHER_LEN + IPV6_LEN, r->answer, len, 0);
}

/* refuse turns a packet to a service without backends around, as what tells its sender that nobody listens (RFC 4443 3.1). */
GLOBAL int refuse(struct __sk_buff *skb, const struct base *b, const struct header *h)
{
	struct service_room *r = service_room();
	struct base out;

	if (!r || !b || !h || h->upper != ETHER_LEN + IPV6_LEN || h->fragment ||
	    bpf_skb_load_bytes(skb, ETHER_LEN, r->answer + 8, ANSWER_LEN - 8))
		return WHY_NO_BACKEND;
	r->answer[0] = UNREACHABLE;
	r->answer[1] = NO_PORT;
	*(u32 *)(r->answer + 4) = 0;
	out = *b;
	__builtin_memcpy(out.dst_mac, b->src_mac, 6);
	__builtin_memcpy(out.src_mac, b->dst_mac, 6);
	out.hops = 64;
	out.src = b->dst;
	out.dst = b->src;
	return turn_round(skb, &out, r, ANSWER_LEN) ? WHY_NO_BACKEND : WHY_REFUSED;
}

/* lead leads a packet of an endpoint to a backend, if it is for a service; 0, or the reason to end. skb->cb says which. */
GLOBAL int lead(struct __sk_buff *skb, struct base *b, struct header *h)
{
	struct service_room *r = service_room();
	int what;

	skb->cb[CB_SERVICE] = DOOR_NONE;
	if (!r || !b || !h)
		return 0;
	what = choose(b, h);
	if (what == NO_SERVICE)
		return 0;
	if (what == WHY_REFUSED)
		return refuse(skb, b, h);
	if (h->proto == PROTO_SCTP && r->s.seat.backend.port != h->dst_port)
		return WHY_NO_BACKEND; /* its checksum covers the whole packet */
	skb->cb[CB_SERVICE] = DOOR_LED;
	r->anew = what == LED_ANEW;
	if (h->fragment)
		note_part(r, b, h, &r->s.seat.backend.addr);
	return replace_end(skb, b, h, &r->s.seat.backend, DESTINATION);
}

/* note_led notes the flow of a packet that was led anew and let pass; 0 or the reason to drop. */
GLOBAL int note_led(struct __sk_buff *skb)
{
	struct service_room *r = service_room();

	if (!r || !r->anew)
		return 0;
	return service_note(&r->s, skb->ifindex) ? 0 : WHY_FLOW_TABLE_FULL;
}

/* replace_part gives a later fragment the other end of its first one. */
INLINE int replace_part(struct __sk_buff *skb, struct service_room *r, struct base *b, const struct header *h, u32 end)
{
	union addr *to;

	r->part.src = b->src;
	r->part.dst = b->dst;
	r->part.id = h->id;
	r->part.pad = 0;
	to = bpf_map_lookup_elem(&service_fragments, &r->part);
	if (!to)
		return 0;
	if (end == SOURCE) {
		b->src = *to;
		return bpf_skb_store_bytes(skb, IN_FRAME(src), &b->src, 16, BPF_F_RECOMPUTE_CSUM) ? WHY_TRUNCATED : 0;
	}
	b->dst = *to;
	return bpf_skb_store_bytes(skb, IN_FRAME(dst), &b->dst, 16, BPF_F_RECOMPUTE_CSUM) ? WHY_TRUNCATED : 0;
}

/* replace_inner replaces an end of the packet that an error is about, and the outer end where it is the same address. */
INLINE int replace_inner(struct __sk_buff *skb, struct service_room *r, struct base *b, const struct header *h, const union addr *to,
			 u16 port, u32 end)
{
	u32 sum = h->upper + 2;

	if (end == SOURCE) { /* the client sends it: of what the backend seemed to send */
		if (replace_addr(skb, r->in.at + 8, &r->in.src, to, sum, 0) ||
		    replace_port(skb, r->in.upper, r->in.src_port, port, sum, 0))
			return WHY_TRUNCATED;
		if (!addr_equal(&b->dst, &r->in.src))
			return 0;
		if (replace_addr(skb, IN_FRAME(dst), &b->dst, to, sum, BPF_F_PSEUDO_HDR))
			return WHY_TRUNCATED;
		b->dst = *to;
		return 0;
	}
	if (replace_addr(skb, r->in.at + 24, &r->in.dst, to, sum, 0) || replace_port(skb, r->in.upper + 2, r->in.dst_port, port, sum, 0))
		return WHY_TRUNCATED;
	if (!addr_equal(&b->src, &r->in.dst))
		return 0;
	if (replace_addr(skb, IN_FRAME(src), &b->src, to, sum, BPF_F_PSEUDO_HDR))
		return WHY_TRUNCATED;
	b->src = *to;
	return 0;
}

/* inner_sees makes the packet that an error is about one between a client and a service. */
INLINE int inner_sees(struct __sk_buff *skb, struct service_room *r, const struct settings *set, const struct header *h)
{
	if (!inner_of(skb, h, &r->in) || !is_led(r->in.proto))
		return 0;
	__builtin_memset(&r->s, 0, sizeof(r->s));
	r->s.p.from_a = key_of(&r->s.p.key, &r->in.src, &r->in.dst, r->in.src_port, r->in.dst_port, r->in.proto);
	r->s.p.seed = set->seed;
	r->s.p.now = clock_now(set);
	return 1;
}

/* is_message tells of errors of ICMPv6, which are about another packet. */
INLINE int is_message(const struct header *h)
{
	return h->proto == PROTO_ICMP && h->type && h->type <= PARAM_PROBLEM && !h->fragment;
}

/* lead_along leads what belongs to a flow that was led: later fragments, and errors about answers; 0 or the reason to drop. */
GLOBAL int lead_along(struct __sk_buff *skb, struct base *b, struct header *h)
{
	struct service_room *r = service_room();
	struct settings *set = serving();

	if (!r || !set || !b || !h)
		return 0;
	if (h->fragment && !h->first)
		return replace_part(skb, r, b, h, DESTINATION);
	if (!is_message(h) || !inner_sees(skb, r, set, h))
		return 0;
	r->s.client = r->in.dst;
	r->s.port = r->in.dst_port;
	if (!service_sent(&r->s, 1))
		return 0;
	return replace_inner(skb, r, b, h, &r->s.seat.backend.addr, r->s.seat.backend.port, SOURCE);
}

/* show makes what is handed to a client come from the service it talks to; 0 or the reason to drop. */
GLOBAL int show(struct __sk_buff *skb, struct base *b, struct header *h)
{
	struct service_room *r = service_room();
	struct settings *set = serving();
	struct service_backend to = {};

	if (!r || !set || !b || !h)
		return 0;
	if (h->fragment && !h->first)
		return replace_part(skb, r, b, h, SOURCE);
	if (is_message(h)) {
		if (!inner_sees(skb, r, set, h))
			return 0;
		r->s.client = r->in.src;
		r->s.port = r->in.src_port;
		r->s.seat.backend.addr = r->in.dst;
		r->s.seat.backend.port = r->in.dst_port;
		if (!service_answered(&r->s, 1))
			return 0;
		return replace_inner(skb, r, b, h, &r->s.shown, r->s.shown_port, DESTINATION);
	}
	if (!is_led(h->proto))
		return 0;
	sees(&r->s, set, b, h, 0);
	r->s.seat.backend.addr = b->src;
	r->s.seat.backend.port = h->src_port;
	if (!service_answered(&r->s, 0))
		return 0;
	to.addr = r->s.shown;
	to.port = r->s.shown_port;
	if (h->fragment)
		note_part(r, b, h, &to.addr);
	return replace_end(skb, b, h, &to, SOURCE);
}
