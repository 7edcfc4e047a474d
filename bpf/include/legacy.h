/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What IPv4 says of a packet, for endpoints that have an address of it, in the words of IPv6: addresses as the maps have them, ICMP with the
 * types of ICMPv6 (RFC 7915 4.2). From there on both are judged alike. The twin is model/datapath/legacy.go.
 */
#pragma once

#include "header.h"

#define IPV4_LEN 20
#define ARP_LEN 28
#define PROTO_ICMP4 1

struct ipv4 {
	u8 version; /* and the length of the header, in words */
	u8 class;
	u16 length, id, part;
	u8 hops, proto;
	u16 sum;
	u8 src[4], dst[4];
};

/* mapped4 writes an IPv4 address as the maps have it (RFC 4291 2.5.5.2). */
INLINE void mapped4(union addr *a, const u8 *b)
{
	a->d[0] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->h[6] = *(const u16 *)b;
	a->h[7] = *(const u16 *)(b + 2);
}

/* proto4 is a protocol as flows have it: ICMP is that of IPv6, whose number is no protocol of IPv4. */
INLINE u8 proto4(u8 proto)
{
	if (proto == PROTO_ICMP4)
		return PROTO_ICMP;
	return proto == PROTO_ICMP ? PROTO_ICMP4 : proto;
}

/* type4 is the ICMPv6 type of a message of ICMP; 0 for one that endpoints have no use for. */
INLINE u8 type4(u8 type, u8 code)
{
	switch (type) {
	case 0:
		return 129;
	case 3: /* code 4: a fragment is needed */
		return code == 4 ? 2 : 1;
	case 8:
		return 128;
	case 11:
		return 3;
	case 12:
		return 4;
	}
	return 0;
}

/* load_base4 reads the fixed headers of an IPv4 packet; 0 or the reason to drop. */
INLINE int load_base4(struct __sk_buff *skb, struct base *b, struct ipv4 *ip)
{
	if (skb->vlan_present || skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, 0, b->dst_mac, ETHER_LEN) ||
	    bpf_skb_load_bytes(skb, ETHER_LEN, ip, IPV4_LEN) || ip->version >> 4 != 4)
		return WHY_NOT_IPV6;
	b->version = ip->version;
	mapped4(&b->src, ip->src);
	mapped4(&b->dst, ip->dst);
	return 0;
}

/* parse4 reads the rest up to the ports; 0 or the reason to drop. */
GLOBAL int parse4(struct __sk_buff *skb, const struct ipv4 *ip, struct header *h)
{
	u32 head, length;
	u8 b[8];

	if (!ip || !h)
		return WHY_TRUNCATED;
	head = (ip->version & 0xf) * 4;
	length = bpf_ntohs(ip->length);
	h->end = length ? ETHER_LEN + length : skb->len; /* a length of 0 is that of a super-packet */
	h->upper = ETHER_LEN + head;
	if (head < IPV4_LEN)
		return WHY_MALFORMED;
	if (h->end > skb->len || h->upper > h->end)
		return WHY_TRUNCATED;
	h->offset = (bpf_ntohs(ip->part) & 0x1fff) * 8;
	h->first = !h->offset;
	h->fragment = h->offset || (ip->part & bpf_htons(0x2000));
	h->id = (u32)ip->proto << 16 | bpf_ntohs(ip->id); /* RFC 791 3.2: it is told apart by the protocol as well */
	h->data = h->upper;
	h->proto = proto4(ip->proto);
	if (h->fragment && !h->first)
		return 0;
	if (h->proto != PROTO_ICMP)
		return upper(skb, h);
	if (h->upper + 8 > h->end || bpf_skb_load_bytes(skb, h->upper, b, 8))
		return too_short(h);
	h->type = type4(b[0], b[1]);
	if (is_echo(h->type))
		h->src_port = h->dst_port = *(u16 *)(b + 4);
	return 0;
}
