/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs read of a packet; the twin is model/datapath/header.go. */
#pragma once

#include "state.h"

#include <linux/if_ether.h>

#define ETHER_LEN 14
#define IPV6_LEN 40
#define IPV6_MIN_MTU 1280
#define MAX_HEADERS 8 /* extension headers that are looked at */

#define HOP_BY_HOP 0
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_DCCP 33
#define ROUTING 43
#define FRAGMENT 44
#define AUTH_HEADER 51
#define PROTO_ICMP 58
#define DEST_OPTS 60
#define PROTO_SCTP 132
#define PROTO_LITE 136

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

/* The fixed headers as they lie in the frame, moved so that the addresses are aligned. */
struct base {
	u16 before;
	u8 dst_mac[6];
	u8 src_mac[6];
	u16 type;
	u8 version; /* and the upper half of the traffic class */
	u8 flow[3];
	u16 length;
	u8 next;
	u8 hops;
	union addr src, dst;
};

#define IN_FRAME(field) (__builtin_offsetof(struct base, field) - __builtin_offsetof(struct base, dst_mac))

/* model/datapath.Header, addresses left out: they stay in struct base */
struct header {
	u32 upper, end, data, offset;
	u32 upper_len; /* of the upper-layer header, where it is known */
	u32 id;
	u16 src_port, dst_port; /* network order */
	u8 proto, routing, fragment, first;
	u8 flags, type, code, next;
};

INLINE int is_ipv6(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IPV6) && !skb->vlan_present;
}

/* load_base reads the fixed headers; 0 or the reason to drop. They nearly always lie in the first piece of a packet, which is read without
 * a helper: what a helper has copied bytewise is slow to be read in words. */
INLINE int load_base(struct __sk_buff *skb, struct base *b)
{
	const u8 *at = (const u8 *)(long)skb->data;

	if (at + ETHER_LEN + IPV6_LEN > (const u8 *)(long)skb->data_end)
		return bpf_skb_load_bytes(skb, 0, b->dst_mac, ETHER_LEN + IPV6_LEN) ? WHY_TRUNCATED : 0;
	*(word16 *)b->dst_mac = *(const word16 *)at;
	*(word32 *)(b->dst_mac + 2) = *(const word32 *)(at + 2);
#pragma unroll
	for (u32 i = 0; i < 6; i++)
		((word64 *)b->src_mac)[i] = ((const word64 *)(at + IN_FRAME(src_mac)))[i];
	return 0;
}

/* extent sets where the packet ends. A length of 0 is that of a super-packet. */
INLINE int extent(struct __sk_buff *skb, const struct base *b, struct header *h)
{
	if (b->version >> 4 != 6)
		return WHY_MALFORMED;
	h->end = skb->len;
	if (b->length)
		h->end = ETHER_LEN + IPV6_LEN + bpf_ntohs(b->length);
	return h->end > skb->len ? WHY_TRUNCATED : 0;
}

INLINE int too_short(const struct header *h)
{
	return h->fragment && h->first ? WHY_FRAGMENT_TINY : WHY_TRUNCATED;
}

INLINE int is_extension(u8 next)
{
	return next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == AUTH_HEADER || next == DEST_OPTS;
}

/* walk goes over the extension headers (RFC 8200, section 4), from h->upper on, h->next being the first. */
GLOBAL int walk(struct __sk_buff *skb, struct header *h)
{
	u8 ext[8];

	if (!h)
		return WHY_TRUNCATED;
	for (int i = 0; i < MAX_HEADERS; i++) {
		u8 next = h->next;
		u32 length;

		if (!is_extension(next)) {
			h->proto = next;
			return 0;
		}
		if (h->upper + 8 > h->end || bpf_skb_load_bytes(skb, h->upper, ext, 8))
			return too_short(h);
		if (next == HOP_BY_HOP && i != 0)
			return WHY_MALFORMED;
		length = ((u32)ext[1] + 1) * 8;
		if (next == AUTH_HEADER)
			length = ((u32)ext[1] + 2) * 4;
		if (next == ROUTING)
			h->routing = 1;
		if (next == FRAGMENT) {
			u16 word = bpf_ntohs(*(u16 *)(ext + 2));

			if (h->data)
				return WHY_MALFORMED;
			length = 8;
			h->offset = word & 0xfff8;
			h->id = *(u32 *)(ext + 4);
			h->first = h->offset == 0;
			h->fragment = h->offset != 0 || (word & 1);
		}
		h->next = ext[0];
		h->upper += length;
		if (h->upper > h->end)
			return too_short(h);
		if (next == FRAGMENT)
			h->data = h->upper;
		if (h->fragment && !h->first) {
			h->proto = h->next;
			return 0;
		}
	}
	h->proto = h->next;
	return is_extension(h->next) ? WHY_TOO_MANY_HEADERS : 0;
}

INLINE int has_ports(u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_LITE || proto == PROTO_SCTP || proto == PROTO_DCCP;
}

INLINE int is_echo(u8 type)
{
	return type == 128 || type == 129;
}

/* load_upper reads the begin of the upper-layer header, 14 bytes of TCP or 8; as load_base. */
INLINE int load_upper(struct __sk_buff *skb, u32 upper, u8 proto, u64 *b)
{
	const u8 *at = (const u8 *)(long)skb->data + ETHER_LEN + IPV6_LEN;

	if (upper != ETHER_LEN + IPV6_LEN || at + 16 > (const u8 *)(long)skb->data_end)
		return proto == PROTO_TCP ? bpf_skb_load_bytes(skb, upper, b, 14) : bpf_skb_load_bytes(skb, upper, b, 8);
	b[0] = *(const word64 *)at;
	b[1] = *(const word64 *)(at + 8);
	return 0;
}

/* upper reads ports, flags and types. */
INLINE int upper(struct __sk_buff *skb, struct header *h)
{
	u64 words[2];
	u8 *b = (u8 *)words;
	u32 need = 8;

	if (h->proto == PROTO_TCP) {
		need = 20;
	} else if (h->proto == PROTO_SCTP || h->proto == PROTO_DCCP) {
		need = 12;
	} else if (h->proto != PROTO_UDP && h->proto != PROTO_LITE && h->proto != PROTO_ICMP) {
		return 0;
	}
	if (h->upper + need > h->end)
		return too_short(h);
	if (load_upper(skb, h->upper, h->proto, words))
		return too_short(h);
	if (h->proto == PROTO_ICMP) {
		h->type = b[0];
		h->code = b[1];
		if (is_echo(b[0]))
			h->src_port = h->dst_port = *(u16 *)(b + 4);
		return 0;
	}
	h->src_port = *(u16 *)b;
	h->dst_port = *(u16 *)(b + 2);
	h->upper_len = need;
	if (h->proto == PROTO_TCP) {
		h->flags = b[13];
		h->upper_len = (b[12] >> 4) * 4;
		if (b[12] >> 4 < 5)
			return WHY_MALFORMED;
	}
	return 0;
}

/* parse reads all headers up to the ports; 0 or the reason to drop. */
INLINE int parse(struct __sk_buff *skb, const struct base *b, struct header *h)
{
	int why = extent(skb, b, h);

	if (why)
		return why;
	h->upper = ETHER_LEN + IPV6_LEN;
	h->next = h->proto = b->next;
	if (is_extension(b->next)) {
		why = walk(skb, h);
		if (why)
			return why;
		if (h->fragment && !h->first)
			return 0;
	}
	return upper(skb, h);
}

/* Kinds of addresses (RFC 4291, section 2.4). */
INLINE int is_unspecified(const union addr *a)
{
	return !(a->d[0] | a->d[1]);
}

/* martian: the unspecified address, loopback and IPv4 in IPv6 never leave a host. */
INLINE int is_martian(const union addr *a)
{
	return !a->d[0] && ((!a->w[2] && (!a->w[3] || a->w[3] == bpf_htonl(1))) || a->w[2] == bpf_htonl(0xffff));
}

INLINE int is_multicast(const union addr *a)
{
	return a->b[0] == 0xff;
}

INLINE int is_link_local(const union addr *a)
{
	return (a->h[0] & bpf_htons(0xffc0)) == bpf_htons(0xfe80);
}

/* on_link: link-local unicast and multicast */
INLINE int on_link(const union addr *a)
{
	return is_link_local(a) || (a->b[0] == 0xff && (a->b[1] & 0xf) == 2);
}
