/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* IPv4 of endpoints that have an address of it; the twin is model/datapath/legacy.go. */
#pragma once

#include "policy.h"

#define IPV4_LEN 20
#define ARP_LEN 28

struct legacy {
	u16 before;
	u8 dst_mac[6];
	u8 src_mac[6];
	u16 type;
	u8 body[ARP_LEN];
};

/* mapped4 writes an IPv4 address as the maps have it (RFC 4291 2.5.5.2). */
INLINE void mapped4(union addr *a, const u8 *b)
{
	a->d[0] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->h[6] = *(const u16 *)b;
	a->h[7] = *(const u16 *)(b + 2);
}

/* pair_denied asks the deny list: there is no flow of IPv4, and no policy yet. */
INLINE int pair_denied(const union addr *from, const union addr *to)
{
	struct pair p = { .from = *from, .to = *to };

	return bpf_map_lookup_elem(&denied, &p) != 0;
}

/* ends reads source and destination of an IPv4 packet; 0 when it is none. */
INLINE int ends(struct __sk_buff *skb, struct legacy *l, union addr *src, union addr *dst)
{
	if (skb->vlan_present || skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, 0, l->dst_mac, ETHER_LEN + IPV4_LEN) ||
	    l->body[0] >> 4 != 4)
		return 0;
	mapped4(src, l->body + 12);
	mapped4(dst, l->body + 16);
	return 1;
}

/* arp lets an endpoint speak of itself alone (RFC 826). */
INLINE int arp(struct __sk_buff *skb)
{
	struct endpoint *self;
	struct legacy l = {};
	union addr sender;

	if (bpf_skb_load_bytes(skb, 0, l.dst_mac, ETHER_LEN + ARP_LEN))
		return WHY_NOT_IPV6;
	/* Ethernet, IPv4, and the lengths of their addresses */
	if (*(u16 *)l.body != bpf_htons(1) || *(u16 *)(l.body + 2) != bpf_htons(ETH_P_IP) || l.body[4] != 6 || l.body[5] != 4)
		return WHY_NOT_IPV6;
	mapped4(&sender, l.body + 14);
	self = endpoint_of(&sender);
	if (!self || self->link != skb->ifindex)
		return WHY_NOT_IPV6;
	if (!mac_equal(l.src_mac, self->mac) || !mac_equal(l.body + 8, self->mac))
		return WHY_SPOOFED_MAC;
	return WHY_NEIGHBOUR;
}

/* legacy_from judges what an endpoint sends besides IPv6. */
GLOBAL int legacy_from(struct __sk_buff *skb)
{
	struct endpoint *self;
	struct legacy l = {};
	union addr src, dst;

	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return arp(skb);
	if (!ends(skb, &l, &src, &dst))
		return WHY_NOT_IPV6;
	self = endpoint_of(&src);
	if (!self || self->link != skb->ifindex)
		return WHY_NOT_IPV6;
	if (!mac_equal(l.src_mac, self->mac))
		return WHY_SPOOFED_MAC;
	if (!mac_equal(l.dst_mac, self->host_mac))
		return WHY_FOREIGN_MAC;
	return pair_denied(&src, &dst) ? WHY_DENIED : WHY_IPV4;
}

/* legacy_to judges what the kernel delivers to an endpoint besides IPv6. */
GLOBAL int legacy_to(struct __sk_buff *skb)
{
	struct endpoint *self;
	struct legacy l = {};
	union addr src, dst;

	if (!ends(skb, &l, &src, &dst))
		return WHY_NOT_IPV6;
	self = endpoint_of(&dst);
	if (!self || self->link != skb->ifindex)
		return WHY_NOT_IPV6;
	if (endpoint_of(&src))
		return WHY_FORGED_INSIDE;
	return pair_denied(&src, &dst) ? WHY_DENIED : WHY_OTHER_WAY;
}
