// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The fast path of NAT64: packets of known flows are translated where they would leave for the translator (linux/nat64), without a process.
 *
 * It hangs on the egress of the TUN device, so that the kernel's routes and everything that judges packets on the way there come first. What it
 * does not translate goes on into the device. Each packet becomes, byte by byte, what model/xlat makes of it. Flows are entered by this
 * program or by the translator, in memory that they share (include/nat64_flow.h).
 */
#include "nat64_flow.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define IPV4_LEN 20
#define IPV6_LEN 40
#define ETHER_LEN 14
#define UNFRAGMENTED 1260 /* model/xlat: unfragmented4 */

#define HOP_BY_HOP 0
#define PROTO_ICMP6 58

#define MARK_MASK 0x0f000000U /* forward.h: a translated packet was judged by nobody yet */

/* Test runs have an Ethernet header in front; packets of the device have none. */
const volatile u32 link_header;

enum way { LEFT_ALONE, DIRECT4, DIRECT6, AGAIN4, AGAIN6, WAYS_OUT };

struct nat64_count {
	u64 packets[WAYS_OUT];
	u64 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct nat64_count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_counts SEC(".maps");

struct ip6 {
	u8 version, class, flow[2];
	u16 length;
	u8 next, hops;
	union addr src, dst;
};

struct ip4 {
	u8 version, class;
	u16 length, id, offset;
	u8 hops, proto;
	u16 check;
	u32 src, dst;
};

/* What is behind the IP header. */
struct upper {
	u32 at;     /* offset in the packet */
	u32 length; /* of header and data */
	u32 wire;   /* the same of what leaves: super-packets go out in segments */
	u32 event;  /* of TCP */
	u32 icmp;   /* first four bytes of an echo */
	u16 check;
};

/* The pseudo-header of ICMPv6 (RFC 8200, section 8.1), and what changes in an echo. */
struct echo6 {
	union addr src, dst;
	u32 length, next;
	u8 type, code;
	u16 id;
	u32 zero; /* it has no padding, which would be summed */
};

struct echo4 {
	u8 type, code;
	u16 id;
};

INLINE u16 folded(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* read_upper reads ports and flags, and whether the packet is one of those that are translated here. icmp is the protocol of the
 * family, echo the lower type of its echoes; 0 when it is none. */
INLINE int read_upper(struct __sk_buff *skb, struct upper *u, struct ends *k, u8 proto, u8 icmp, u8 request, u8 reply, u32 from4)
{
	u8 b[20] = {};
	u32 size = 8;

	if (proto == PROTO_TCP) {
		size = 20;
		if (u->length < 20 || bpf_skb_load_bytes(skb, u->at, b, 20) || b[12] >> 4 < 5)
			return 0;
		size = (b[12] >> 4) * 4;
		u->check = *(u16 *)(b + 16);
		u->event = b[13] & 4 ? 4 : b[13] & 2 ? 0 : b[13] & 1 ? 2 : 6;
		u->event += from4;
	} else if (proto == PROTO_UDP) {
		if (u->length < 8 || bpf_skb_load_bytes(skb, u->at, b, 8))
			return 0;
		u->check = *(u16 *)(b + 6);
		if (!u->check)
			return 0;
	} else if (proto == icmp) {
		if (u->length < 8 || bpf_skb_load_bytes(skb, u->at, b, 8) || b[1] || (b[0] != request && b[0] != reply) || skb->gso_size)
			return 0;
		u->icmp = *(u32 *)b;
		k->src_port = k->dst_port = *(u16 *)(b + 4);
		k->proto = PROTO_ICMP4;
		u->wire = u->length;
		return 1;
	} else {
		return 0;
	}
	k->src_port = *(u16 *)b;
	k->dst_port = *(u16 *)(b + 2);
	k->proto = proto;
	u->wire = skb->gso_size ? size + skb->gso_size : u->length;
	return 1;
}

/* rewrite_upper mends checksum and ports of TCP and UDP: addresses are part of the pseudo-header, ports are not, so that checksums which
 * a device will complete stay right. from and to are the addresses as the headers have them. */
INLINE int rewrite_upper(struct __sk_buff *skb, const struct upper *u, const struct ends *k, const struct ends *to, __s64 addresses)
{
	u64 udp = k->proto == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	u32 sum = u->at + (k->proto == PROTO_UDP ? 6 : 16);
	u32 old = *(const u32 *)&k->src_port, new = *(const u32 *)&to->src_port;
	__s64 ports = bpf_csum_diff(&old, 4, &new, 4, 0);

	if (bpf_l4_csum_replace(skb, sum, 0, (u32)addresses, BPF_F_PSEUDO_HDR | udp))
		return -1;
	if (old == new)
		return 0;
	return bpf_l4_csum_replace(skb, sum, 0, (u32)ports, udp) || bpf_skb_store_bytes(skb, u->at, &new, 4, 0);
}

INLINE int count(enum way way)
{
	u32 zero = 0;
	struct nat64_count *c = bpf_map_lookup_elem(&nat64_counts, &zero);

	if (c)
		c->packets[way]++;
	return 0;
}

INLINE u16 identification(const struct nat64_settings *set)
{
	u32 zero = 0;
	struct nat64_count *c = bpf_map_lookup_elem(&nat64_counts, &zero);

	if (set->flags & FLAG_TEST)
		return set->id;
	return c ? ++c->id : 0;
}

INLINE u32 seconds(const struct nat64_settings *set)
{
	return set->flags & FLAG_TEST ? set->now : (u32)(bpf_ktime_get_boot_ns() / 1000000000);
}

/* next_hop asks the kernel for the way on; 0 where the kernel has to take it. */
INLINE int next_hop(struct __sk_buff *skb, const struct nat64_settings *set, struct bpf_fib_lookup *fib, struct bpf_redir_neigh *next)
{
	u32 self = skb->ifindex;
	long r;

	if (!(set->flags & FLAG_DIRECT))
		return 0;
	fib->ifindex = self;
	r = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
	if ((r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH) || fib->ifindex == self)
		return 0;
	next->nh_family = fib->family;
	__builtin_memcpy(next->ipv6_nh, fib->ipv6_dst, 16);
	return 1;
}

/* hop_limit is what a translated packet has on the wire or, where the kernel forwards it once more, before that: the kernel has counted
 * one hop already, and the host is one (model/xlat.Translator.Carried). */
INLINE u8 hop_limit(u8 hops, int direct)
{
	u8 again = hops == 255 ? hops : hops + 1;

	return direct ? again - 1 : again;
}

/* send_on sends a translated packet on. */
INLINE int send_on(struct __sk_buff *skb, const struct bpf_fib_lookup *fib, struct bpf_redir_neigh *next, int direct, enum way way)
{
	skb->mark &= ~MARK_MASK;
	skb->cb[0] = way;
	count(way);
	if (!direct)
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	if (!link_header && bpf_skb_change_head(skb, ETHER_LEN, 0)) /* redirect_neigh writes one there */
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(fib->ifindex, next, sizeof(*next), 0);
}

INLINE int left_alone(struct __sk_buff *skb)
{
	skb->cb[0] = LEFT_ALONE;
	count(LEFT_ALONE);
	return TC_ACT_UNSPEC;
}

/* echo_to4 makes an echo of IPv6 one of IPv4: with the pseudo-header goes its checksum. sized is length and type. */
GLOBAL int echo_to4(struct __sk_buff *skb, const struct ends *from, const struct ends *to, u32 at, u32 sized)
{
	struct echo6 before = { .length = bpf_htonl(sized >> 8), .next = bpf_htonl(PROTO_ICMP6), .type = (u8)sized };
	struct echo4 after = { .type = before.type == 128 ? 8 : 0 };

	if (!from || !to)
		return -1;
	before.src = from->src;
	before.dst = from->dst;
	before.id = from->src_port;
	after.id = to->src_port;
	return bpf_l4_csum_replace(skb, at + 2, 0, (u32)bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)&after, sizeof(after), 0), 0) ||
	       bpf_skb_store_bytes(skb, at, &after.type, 1, 0) || bpf_skb_store_bytes(skb, at + 4, &after.id, 2, 0);
}

/* to4 translates a packet from IPv6 (RFC 7915, section 5). */
INLINE int to4(struct __sk_buff *skb, const struct nat64_settings *set)
{
	u32 at = link_header, length = skb->len - at, jumbo = 0, total;
	struct bpf_fib_lookup fib = { .family = 2 /* AF_INET */ };
	struct bpf_redir_neigh next = {};
	struct ends from = {}, to = {};
	struct upper u = {};
	struct ip4 out = {};
	struct ip6 in;
	int direct;
	u32 now;
	u8 proto;

	if (bpf_skb_load_bytes(skb, at, &in, IPV6_LEN) || in.version >> 4 != 6 || !in.hops)
		return left_alone(skb);
	proto = in.next;
	if (!in.length && skb->gso_size) { /* more than 64 KiB: a jumbo payload option before Linux 6.19 (RFC 2675) */
		u8 option[8];

		if (proto == HOP_BY_HOP) {
			if (bpf_skb_load_bytes(skb, at + IPV6_LEN, option, 8) || option[1] || option[2] != 0xc2 || option[3] != 4)
				return left_alone(skb);
			jumbo = 8;
			proto = option[0];
		}
	} else if (IPV6_LEN + bpf_ntohs(in.length) != length) {
		return left_alone(skb);
	}
	u.at = at + IPV6_LEN + jumbo;
	u.length = length - IPV6_LEN - jumbo;
	from.src = in.src;
	from.dst = in.dst;
	if (!read_upper(skb, &u, &from, proto, PROTO_ICMP6, 128, 129, 0))
		return left_alone(skb);
	now = seconds(set);
	if (!known(&from, &to, u.event, now) && !begin(&from, &to, u.event, now))
		return left_alone(skb);

	fib.l4_protocol = from.proto;
	fib.sport = to.src_port;
	fib.dport = to.dst_port;
	fib.tot_len = IPV4_LEN + u.wire > 0xffff ? 0xffff : IPV4_LEN + u.wire;
	fib.ipv4_src = to.src.w[3];
	fib.ipv4_dst = to.dst.w[3];
	direct = next_hop(skb, set, &fib, &next);

	total = IPV4_LEN + u.length;
	out.version = 0x45;
	out.class = in.version << 4 | in.class >> 4;
	out.length = total > 0xffff ? 0 : bpf_htons(total);
	out.id = bpf_htons(identification(set));
	out.offset = IPV4_LEN + u.wire > UNFRAGMENTED ? bpf_htons(0x4000) : 0;
	out.hops = hop_limit(in.hops, direct);
	out.proto = from.proto;
	out.src = to.src.w[3];
	out.dst = to.dst.w[3];
	out.check = ~folded(bpf_csum_diff(0, 0, (__be32 *)&out, IPV4_LEN, 0));

	if (from.proto == PROTO_ICMP4) {
		if (echo_to4(skb, &from, &to, u.at, u.length << 8 | (u8)u.icmp))
			return TC_ACT_SHOT;
	} else if (rewrite_upper(skb, &u, &from, &to, bpf_csum_diff((__be32 *)&in.src, 32, &out.src, 8, 0))) {
		return TC_ACT_SHOT;
	}
	if (jumbo && bpf_skb_adjust_room(skb, -8, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_SHOT;
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) || bpf_skb_store_bytes(skb, at, &out, IPV4_LEN, 0))
		return TC_ACT_SHOT;
	return send_on(skb, &fib, &next, direct, direct ? DIRECT4 : AGAIN4);
}

/* echo_to6 makes an echo of IPv4 one of IPv6. */
GLOBAL int echo_to6(struct __sk_buff *skb, const struct ends *from, const struct ends *to, u32 at, u32 sized)
{
	struct echo6 after = { .length = bpf_htonl(sized >> 8), .next = bpf_htonl(PROTO_ICMP6) };
	struct echo4 before = { .type = (u8)sized };

	if (!from || !to)
		return -1;
	after.type = before.type == 8 ? 128 : 129;
	after.src = to->src;
	after.dst = to->dst;
	after.id = to->src_port;
	before.id = from->src_port;
	return bpf_l4_csum_replace(skb, at + 2, 0, (u32)bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)&after, sizeof(after), 0), 0) ||
	       bpf_skb_store_bytes(skb, at, &after.type, 1, 0) || bpf_skb_store_bytes(skb, at + 4, &after.id, 2, 0);
}

/* to6 translates a packet from IPv4 (RFC 7915, section 4). */
INLINE int to6(struct __sk_buff *skb, const struct nat64_settings *set)
{
	u32 at = link_header, length = skb->len - at;
	struct bpf_fib_lookup fib = { .family = 10 /* AF_INET6 */ };
	struct bpf_redir_neigh next = {};
	struct ends from = {}, to = {};
	struct upper u = {};
	struct ip6 out = {};
	struct ip4 in;
	int direct;

	if (bpf_skb_load_bytes(skb, at, &in, IPV4_LEN) || in.version != 0x45 || !in.hops || bpf_ntohs(in.length) != length ||
	    (in.offset & bpf_htons(0x3fff)) || folded(bpf_csum_diff(0, 0, (__be32 *)&in, IPV4_LEN, 0)) != 0xffff)
		return left_alone(skb);
	u.at = at + IPV4_LEN;
	u.length = length - IPV4_LEN;
	mapped(&from.src, in.src);
	mapped(&from.dst, in.dst);
	if (!read_upper(skb, &u, &from, in.proto, PROTO_ICMP4, 8, 0, 1) || IPV6_LEN + u.wire > set->mtu6 || !known(&from, &to, u.event, seconds(set)))
		return left_alone(skb);

	fib.l4_protocol = in.proto == PROTO_ICMP4 ? PROTO_ICMP6 : in.proto;
	fib.sport = to.src_port;
	fib.dport = to.dst_port;
	fib.tot_len = IPV6_LEN + u.wire;
	__builtin_memcpy(fib.ipv6_src, &to.src, 16);
	__builtin_memcpy(fib.ipv6_dst, &to.dst, 16);
	direct = next_hop(skb, set, &fib, &next);

	out.version = 6 << 4 | in.class >> 4;
	out.class = in.class << 4;
	out.length = bpf_htons(u.length);
	out.next = in.proto == PROTO_ICMP4 ? PROTO_ICMP6 : in.proto;
	out.hops = hop_limit(in.hops, direct);
	out.src = to.src;
	out.dst = to.dst;

	if (from.proto == PROTO_ICMP4) {
		if (echo_to6(skb, &from, &to, u.at, u.length << 8 | (u8)u.icmp))
			return TC_ACT_SHOT;
	} else if (rewrite_upper(skb, &u, &from, &to, bpf_csum_diff(&in.src, 8, (__be32 *)&out.src, 32, 0))) {
		return TC_ACT_SHOT;
	}
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) || bpf_skb_store_bytes(skb, at, &out, IPV6_LEN, 0))
		return TC_ACT_SHOT;
	return send_on(skb, &fib, &next, direct, direct ? DIRECT6 : AGAIN6);
}

SEC("tc")
int nat64(struct __sk_buff *skb)
{
	struct nat64_settings *set;
	u32 zero = 0;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !(set->flags & FLAG_ON))
		return left_alone(skb);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return to4(skb, set);
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return to6(skb, set);
	return left_alone(skb);
}
