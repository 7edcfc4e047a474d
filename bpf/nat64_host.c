// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * NAT64 from the host's own IPv4 address: packets that arrive for ports which endpoints have go to the translator, all else to the host.
 *
 * The kernel would give every packet to the host's address to the host: its table of local addresses comes before all routes. This program
 * hangs on the ingress of the links that such packets come by, and sends those of bindings (linux/nat64 marks them in a map of bits) out of
 * the TUN device of the translator, where bpf/nat64.c and the translator's process translate them like those of a pool.
 */
#include "bound.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHER_LEN 14
#define IPV4_LEN 20
#define PROTO_ICMP4 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define MORE_OR_OFFSET 0x3fff
#define OFFSET 0x1fff

struct nat64_host {
	u32 addr; /* the host's; 0: take nothing */
	u32 link; /* the translator's device */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct nat64_host);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_host_settings SEC(".maps");

/* Whose the later fragments of a packet are: they have no ports. */
struct pieces {
	u32 src;
	u16 id;
	u8 proto, pad;
};

struct owner {
	u64 until; /* nanoseconds since boot */
	u32 theirs;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pieces);
	__type(value, struct owner);
} nat64_host_pieces SEC(".maps");

#define PIECES_LIFE 30000000000ULL /* how long a host waits for fragments (RFC 8200 4.5 has 60 s, Linux 30 s: ipfrag_time) */

struct ip4 {
	u8 version, class;
	u16 length, id, offset;
	u8 hops, proto;
	u16 check;
	u32 src, dst;
};

/* bound is 1 where an endpoint has the port. port is in network order. */
INLINE int bound(u32 proto, u16 port)
{
	u32 number = bpf_ntohs(port);
	u64 *word = bound_word(proto, number);

	return word && (*(volatile u64 *)word >> (number & 63) & 1);
}

/* about is 1 where an ICMP error tells of a packet that an endpoint sent. at is the offset of what it quotes. */
INLINE int about(struct __sk_buff *skb, u32 at, u32 self)
{
	struct ip4 in;
	u8 b[8];

	if (bpf_skb_load_bytes_relative(skb, at, &in, IPV4_LEN, BPF_HDR_START_NET) || in.version >> 4 != 4 || in.src != self || (in.offset & bpf_htons(OFFSET)))
		return 0;
	at += (in.version & 15) * 4;
	if (bpf_skb_load_bytes_relative(skb, at, b, 8, BPF_HDR_START_NET))
		return 0;
	if (in.proto == PROTO_TCP || in.proto == PROTO_UDP)
		return bound(in.proto, *(u16 *)b);
	return in.proto == PROTO_ICMP4 && b[0] == 8 && bound(PROTO_ICMP4, *(u16 *)(b + 4));
}

/* theirs is 1 for a packet with ports, or an ICMP message, that is an endpoint's. at is the offset of what is behind the header. */
INLINE int theirs(struct __sk_buff *skb, const struct ip4 *in, u32 at)
{
	u8 b[8];

	if (bpf_skb_load_bytes_relative(skb, at, b, 8, BPF_HDR_START_NET))
		return 0;
	if (in->proto == PROTO_TCP || in->proto == PROTO_UDP)
		return bound(in->proto, *(u16 *)(b + 2));
	switch (b[0]) {
	case 0: /* requests are the host's to answer; replies go to who asked */
		return bound(PROTO_ICMP4, *(u16 *)(b + 4));
	case 3: case 4: case 5: case 11: case 12:
		return about(skb, at + 8, in->dst);
	}
	return 0;
}

/* start is the offset of the IPv4 header in the packet; negative where it is not found. Links have Ethernet's header, or none. */
INLINE int start(struct __sk_buff *skb, const struct ip4 *in)
{
	const u32 *w = (const u32 *)in;
	u32 b[5];

	if (!bpf_skb_load_bytes(skb, ETHER_LEN, b, IPV4_LEN) && !((b[0] ^ w[0]) | (b[1] ^ w[1]) | (b[2] ^ w[2]) | (b[3] ^ w[3]) | (b[4] ^ w[4])))
		return ETHER_LEN;
	if (!bpf_skb_load_bytes(skb, 0, b, IPV4_LEN) && !((b[0] ^ w[0]) | (b[1] ^ w[1]) | (b[2] ^ w[2]) | (b[3] ^ w[3]) | (b[4] ^ w[4])))
		return 0;
	return -1;
}

/* set_hops writes the hop limit and mends the checksum of the header. */
INLINE int set_hops(struct __sk_buff *skb, int at, const struct ip4 *in, u8 from, u8 to)
{
	return bpf_l3_csum_replace(skb, at + 10, (u32)from | (u32)in->proto << 8, (u32)to | (u32)in->proto << 8, 2) || bpf_skb_store_bytes(skb, at + 8, &to, 1, 0);
}

SEC("tc")
int nat64_host(struct __sk_buff *skb)
{
	struct pieces key = {};
	struct nat64_host *set;
	struct ip4 in;
	u32 zero = 0, later, whose = 0, both = 0, length;
	u64 now;
	u8 hops;
	int at;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present)
		return TC_ACT_UNSPEC;
	set = bpf_map_lookup_elem(&nat64_host_settings, &zero);
	if (!set || !set->addr || bpf_skb_load_bytes_relative(skb, 0, &in, IPV4_LEN, BPF_HDR_START_NET) || in.dst != set->addr || in.version >> 4 != 4)
		return TC_ACT_UNSPEC;
	if (in.proto != PROTO_TCP && in.proto != PROTO_UDP && in.proto != PROTO_ICMP4)
		return TC_ACT_UNSPEC;

	key.src = in.src;
	key.id = in.id;
	key.proto = in.proto;
	later = in.offset & bpf_htons(OFFSET);
	if (!later)
		whose = theirs(skb, &in, (in.version & 15) * 4);
	if (in.offset & bpf_htons(MORE_OR_OFFSET)) {
		now = bpf_ktime_get_boot_ns();
		if (!later) {
			struct owner o = { .until = now + PIECES_LIFE, .theirs = whose };

			bpf_map_update_elem(&nat64_host_pieces, &key, &o, 0);
		} else {
			struct owner *o = bpf_map_lookup_elem(&nat64_host_pieces, &key);

			if (o && o->until > now)
				whose = o->theirs;
			else
				both = whose = in.proto != PROTO_ICMP4; /* its first has not come: whoever gets that one needs this one */
		}
	}
	if (!whose)
		return TC_ACT_UNSPEC;
	at = start(skb, &in);
	if (at < 0)
		return TC_ACT_UNSPEC;
	length = at + bpf_ntohs(in.length);
	if (in.length && !skb->gso_size && skb->len > length && bpf_skb_change_tail(skb, length, 0)) /* short frames are padded */
		return TC_ACT_UNSPEC;
	/* The host is a hop, which the translator takes for counted. One that is used up goes there as 0, and is answered there. */
	hops = in.hops ? in.hops - 1 : 0;
	if (set_hops(skb, at, &in, in.hops, hops))
		return TC_ACT_SHOT;
	if (!both)
		return bpf_redirect(set->link, 0);
	bpf_clone_redirect(skb, set->link, 0);
	return set_hops(skb, at, &in, hops, in.hops) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
