/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Neighbour discovery and ICMPv6 errors; the twin is model/datapath/icmp.go. */
#pragma once

#include "flow.h"
#include "legacy.h"

#define PACKET_TOO_BIG 2
#define PARAM_PROBLEM 4
#define ECHO_REQUEST 128
#define ECHO_REPLY 129
#define ROUTER_SOLICIT 133
#define ROUTER_ADVERT 134
#define NEIGHBOUR_ASK 135
#define NEIGHBOUR_ANSWER 136
#define REDIRECT_MESSAGE 137

#define DISCOVERY_LEN 24
#define MAX_OPTIONS 4
#define ERRORS_PER_UNIT 100

/* model/datapath.Bucket of packet-too-big messages about unknown flows; one entry */
struct bucket {
	u32 second, used;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct bucket);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} errors SEC(".maps");

INLINE int is_discovery(const struct header *h)
{
	return h->proto == PROTO_ICMP && h->type >= ROUTER_SOLICIT && h->type <= REDIRECT_MESSAGE && (!h->fragment || h->first);
}

/* own_options tells whether all options are whole and name no other MAC than the endpoint's. */
GLOBAL int own_options(struct __sk_buff *skb, const struct endpoint *self, u32 at, u32 end)
{
	u8 option[8];

	if (!self)
		return 0;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		u32 length;

		if (at + 8 > end)
			break;
		if (bpf_skb_load_bytes(skb, at, option, 8) || !option[1])
			return 0;
		length = (u32)option[1] * 8;
		/* the link-layer address of source and target (RFC 4861 4.6.1) */
		if ((option[0] == 1 || option[0] == 2) && (length != 8 || !mac_equal(option + 2, self->mac)))
			return 0;
		at += length;
	}
	return at == end;
}

/* discovery lets an endpoint speak of itself alone, on its own link (RFC 4861 7.1). */
INLINE int discovery(struct __sk_buff *skb, const struct base *b, const struct header *h, const struct endpoint *self)
{
	u32 options = h->upper + 8;

	if (h->type == ROUTER_ADVERT)
		return WHY_ROUTER_ADVERTISEMENT;
	if (h->type == REDIRECT_MESSAGE)
		return WHY_REDIRECT;
	/* RFC 6980: never in fragments; RFC 4861 7.1.1: from the link alone */
	if (h->fragment || b->hops != 255 || h->code || !on_link(&b->dst))
		return WHY_SPOOFED_NEIGHBOUR;
	if (!(b->dst_mac[0] & 1) && !mac_equal(b->dst_mac, self->host_mac))
		return WHY_FOREIGN_MAC;
	if (h->type != ROUTER_SOLICIT) {
		options = h->upper + DISCOVERY_LEN;
		if (options > h->end)
			return WHY_TRUNCATED;
	}
	if (h->type == NEIGHBOUR_ANSWER) {
		union addr target;
		struct endpoint *t;

		if (bpf_skb_load_bytes(skb, h->upper + 8, &target, 16))
			return WHY_TRUNCATED;
		t = endpoint_of(&target);
		if (!t || t->link != skb->ifindex)
			return WHY_SPOOFED_NEIGHBOUR;
	}
	return own_options(skb, self, options, h->end) ? WHY_NEIGHBOUR : WHY_SPOOFED_NEIGHBOUR;
}

/* detection lets an endpoint look whether somebody has its own address (RFC 4862 5.4.2). */
INLINE int detection(struct __sk_buff *skb, const struct base *b, const struct header *h)
{
	union addr target;
	struct endpoint *self;

	if (h->proto != PROTO_ICMP || h->type != NEIGHBOUR_ASK || h->fragment || h->routing || b->hops != 255 || h->code ||
	    !on_link(&b->dst) || h->upper + DISCOVERY_LEN != h->end)
		return WHY_SPOOFED_SOURCE;
	if (bpf_skb_load_bytes(skb, h->upper + 8, &target, 16))
		return WHY_SPOOFED_SOURCE;
	self = endpoint_of(&target);
	if (!self || self->link != skb->ifindex)
		return WHY_SPOOFED_NEIGHBOUR;
	return mac_equal(b->src_mac, self->mac) ? WHY_NEIGHBOUR : WHY_SPOOFED_MAC;
}

/* take lets ERRORS_PER_UNIT things pass per second; CPUs that race let a few more pass. */
INLINE int take(u32 now)
{
	u32 zero = 0;
	struct bucket *b = bpf_map_lookup_elem(&errors, &zero);

	if (!b)
		return 0;
	if (b->second != now) {
		b->second = now;
		b->used = 0;
	}
	return ++b->used <= ERRORS_PER_UNIT;
}

/* The packet that an error is about. */
struct inner {
	union addr src, dst;
	u32 at; /* where it begins, in the frame */
	u32 upper; /* where its ports are */
	u16 src_port, dst_port;
	u8 proto, pad[3];
};

/* inner_of reads it as far as its ports; 0 when its flow cannot be told. */
GLOBAL int inner_of(struct __sk_buff *skb, const struct header *outer, struct inner *to)
{
	struct {
		u8 version, flow[3];
		u16 length;
		u8 next, hops;
		union addr src, dst;
	} in;
	struct header h = {};
	u16 port[4] = {};

	if (!outer || !to)
		return 0;
	h.upper = outer->upper + 8 + IPV6_LEN;
	h.end = outer->end;
	if (outer->fragment || h.upper > h.end || bpf_skb_load_bytes(skb, outer->upper + 8, &in, sizeof(in)) || in.version >> 4 != 6)
		return 0;
	h.next = in.next;
	if (walk(skb, &h) || (h.fragment && !h.first))
		return 0;
	if (has_ports(h.proto) || h.proto == PROTO_ICMP) {
		if (h.upper + 8 > h.end || bpf_skb_load_bytes(skb, h.upper, port, 8))
			return 0;
	}
	if (h.proto == PROTO_ICMP) {
		if (!is_echo(port[0] & 0xff))
			return 0;
		port[0] = port[1] = port[2];
	}
	to->src = in.src;
	to->dst = in.dst;
	to->at = outer->upper + 8;
	to->upper = h.upper;
	to->src_port = port[0];
	to->dst_port = port[1];
	to->proto = h.proto;
	return 1;
}

/* inner4_of is inner_of of an error of ICMP. */
GLOBAL int inner4_of(struct __sk_buff *skb, const struct header *outer, struct inner *to)
{
	struct ipv4 ip;
	u16 port[4] = {};
	u32 at, upper;

	if (!outer || !to)
		return 0;
	at = outer->upper + 8;
	if (outer->fragment || at + IPV4_LEN > outer->end || bpf_skb_load_bytes(skb, at, &ip, IPV4_LEN) || ip.version >> 4 != 4 ||
	    (ip.part & bpf_htons(0x1fff)))
		return 0;
	upper = at + (ip.version & 0xf) * 4;
	to->proto = proto4(ip.proto);
	if (has_ports(to->proto) || to->proto == PROTO_ICMP) {
		if (upper + 8 > outer->end || bpf_skb_load_bytes(skb, upper, port, 8))
			return 0;
	}
	if (to->proto == PROTO_ICMP) {
		if (!is_echo(type4(port[0] & 0xff, 0)))
			return 0;
		port[0] = port[1] = port[2];
	}
	mapped4(&to->src, ip.src);
	mapped4(&to->dst, ip.dst);
	to->at = at;
	to->upper = upper;
	to->src_port = port[0];
	to->dst_port = port[1];
	return 1;
}

/* icmp_error lets an error pass when it is about a packet of a known flow (RFC 4890 4.3.1); 0 or the reason to drop. */
GLOBAL int icmp_error(struct __sk_buff *skb, const struct base *b, const struct header *h, u32 uplink, u32 now)
{
	struct settings *set;
	struct inner in = {};
	struct flow_key k;
	u32 zero = 0;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !b || !h || !(b->version >> 4 == 4 ? inner4_of(skb, h, &in) : inner_of(skb, h, &in)))
		return WHY_UNRELATED_ERROR;
	/* An endpoint tells of what it was sent, and is told of what it sent. */
	if (!addr_equal(uplink ? &in.src : &in.dst, uplink ? &b->dst : &b->src))
		return WHY_UNRELATED_ERROR;
	key_of(&k, &in.src, &in.dst, in.src_port, in.dst_port, in.proto);
	if (flow_is(&k, set->seed, now))
		return 0;
	/* Without a packet-too-big a connection would stop for ever. */
	if (!uplink || h->type != PACKET_TOO_BIG)
		return WHY_UNRELATED_ERROR;
	return take(now) ? 0 : WHY_ERROR_RATE;
}
