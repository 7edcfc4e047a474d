/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Packets with another address and port: headers and the checksums that cover them. */
#pragma once

#include "header.h"
#include "service.h"

/* Where the checksum of an upper layer is that covers addresses and ports; 0: there is none, or it is not ours to mend. */
INLINE u32 checksum_at(const struct header *h)
{
	if (h->proto == PROTO_TCP)
		return h->upper + 16;
	return h->proto == PROTO_UDP ? h->upper + 6 : 0;
}

/* replace_addr replaces an address of the packet and mends the checksum at sum, if any. */
INLINE int replace_addr(struct __sk_buff *skb, u32 at, const union addr *old, const union addr *new, u32 sum, u64 how)
{
	long diff = bpf_csum_diff((__be32 *)old, 16, (__be32 *)new, 16, 0);

	if (sum && bpf_l4_csum_replace(skb, sum, 0, (u32)diff, how))
		return -1;
	/* With the pseudo header, the sum over the whole packet that some devices make has both changes in it: they cancel out. */
	return bpf_skb_store_bytes(skb, at, new, 16, how & BPF_F_PSEUDO_HDR ? BPF_F_RECOMPUTE_CSUM : 0);
}

INLINE int replace_port(struct __sk_buff *skb, u32 at, u16 old, u16 new, u32 sum, u64 how)
{
	if (sum && bpf_l4_csum_replace(skb, sum, old, new, 2 | how))
		return -1;
	return bpf_skb_store_bytes(skb, at, &new, 2, 0);
}

#define SOURCE 0
#define DESTINATION 1

/* replace_end gives a packet another source or destination; 0, or the reason to drop. */
GLOBAL int replace_end(struct __sk_buff *skb, struct base *b, struct header *h, const struct service_backend *to, u32 end)
{
	u32 sum, at = end == SOURCE ? IN_FRAME(src) : IN_FRAME(dst);
	u16 port = to ? to->port : 0;
	u64 udp;

	if (!b || !h || !to)
		return WHY_TRUNCATED;
	udp = h->proto == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	sum = checksum_at(h);
	if (end == SOURCE) {
		if (replace_addr(skb, at, &b->src, &to->addr, sum, udp | BPF_F_PSEUDO_HDR) ||
		    replace_port(skb, h->upper, h->src_port, port, sum, udp))
			return WHY_TRUNCATED;
		b->src = to->addr;
		h->src_port = port;
		return 0;
	}
	if (replace_addr(skb, at, &b->dst, &to->addr, sum, udp | BPF_F_PSEUDO_HDR) ||
	    replace_port(skb, h->upper + 2, h->dst_port, port, sum, udp))
		return WHY_TRUNCATED;
	b->dst = to->addr;
	h->dst_port = port;
	return 0;
}
