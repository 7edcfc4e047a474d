// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The fast path of NAT64: packets of known flows are translated where they arrive, or where they would leave for the translator
 * (linux/nat64), without a process.
 *
 * nat64_early is met by packets that links bring (translate.h), after they were judged and before the kernel forwards them: the kernel's
 * routes are asked whether they would lead to the translator. nat64 hangs on the egress of the translator's TUN device and is met by all
 * others: those of the host itself, and those of hosts where others have rules for forwarding. What neither translates goes on into the
 * device. Each packet becomes, byte by byte, what model/xlat makes of it. Flows are entered by these programs or by the translator, in
 * memory that they share (include/nat64_flow.h).
 */
#include "nat64_way.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define IPV4_LEN 20
#define IPV6_LEN 40
#define UNFRAGMENTED 1260 /* model/xlat: unfragmented4 */

#define HOP_BY_HOP 0

enum done { LEFT_ALONE, DIRECT4, DIRECT6, AGAIN4, AGAIN6, OUTCOMES };

struct nat64_count {
	u64 packets[OUTCOMES];
	u64 id; /* the next one of the processor's batch; a multiple of ID_BATCH: it has none left */
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

/* load reads size bytes of a packet, in words. They nearly always lie in its first piece, which is read without a helper: what a helper has
 * copied bytewise is slow to be read in words. */
INLINE int load(struct __sk_buff *skb, u32 at, void *to, u32 size)
{
	const u8 *from = (const u8 *)(long)skb->data + at;

	if (from + size > (const u8 *)(long)skb->data_end)
		return bpf_skb_load_bytes(skb, at, to, size);
#pragma unroll
	for (u32 i = 0; i < size / 4; i++)
		((word32 *)to)[i] = ((const word32 *)from)[i];
	return 0;
}

/* plus and less add and subtract words in one's complement (RFC 1071), n of them: for few words a helper costs more. */
INLINE u64 plus(u64 sum, const void *words, u32 n)
{
#pragma unroll
	for (u32 i = 0; i < n; i++)
		sum += ((const word32 *)words)[i];
	return sum;
}

INLINE u64 less(u64 sum, const void *words, u32 n)
{
#pragma unroll
	for (u32 i = 0; i < n; i++)
		sum += (u32)~((const word32 *)words)[i];
	return sum;
}

/* halved is a sum as helpers take it. */
INLINE u32 halved(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (u32)sum + (u32)(sum >> 32);
}

/* read_upper reads ports and flags, and whether the packet is one of those that are translated here. icmp is the protocol of the
 * family, echo the lower type of its echoes; 0 when it is none. */
INLINE int read_upper(struct __sk_buff *skb, struct upper *u, struct ends *k, u8 proto, u8 icmp, u8 request, u8 reply, u32 from4)
{
	u32 words[5] = {}, size = 8;
	u8 *b = (u8 *)words;

	if (proto == PROTO_TCP) {
		size = 20;
		if (u->length < 20 || load(skb, u->at, b, 20) || b[12] >> 4 < 5)
			return 0;
		size = (b[12] >> 4) * 4;
		u->check = *(u16 *)(b + 16);
		u->event = b[13] & 4 ? 4 : b[13] & 2 ? 0 : b[13] & 1 ? 2 : 6;
		u->event += from4;
	} else if (proto == PROTO_UDP) {
		if (u->length < 8 || load(skb, u->at, b, 8))
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
INLINE int rewrite_upper(struct __sk_buff *skb, const struct upper *u, const struct ends *k, const struct ends *to, u64 addresses)
{
	u64 udp = k->proto == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	u32 sum = u->at + (k->proto == PROTO_UDP ? 6 : 16);
	u32 old = *(const u32 *)&k->src_port, new = *(const u32 *)&to->src_port;

	if (bpf_l4_csum_replace(skb, sum, 0, halved(addresses), BPF_F_PSEUDO_HDR | udp))
		return -1;
	if (old == new)
		return 0;
	return bpf_l4_csum_replace(skb, sum, 0, halved((u64)~old + new), udp) || bpf_skb_store_bytes(skb, u->at, &new, 4, 0);
}

/* done counts what became of a packet, and tells test runs. */
INLINE void done(struct __sk_buff *skb, enum done what)
{
	u32 zero = 0;
	struct nat64_count *c = bpf_map_lookup_elem(&nat64_counts, &zero);

	if (c)
		c->packets[what]++;
	skb->cb[0] = what;
}

#define ID_BATCH 64

/* The next identifications that no processor has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_ids SEC(".maps");

/* identification is another one for every packet, of whatever processor, until all have been used (RFC 6864, section 4.3): each takes a batch. */
INLINE u16 identification(const struct nat64_settings *set)
{
	u32 zero = 0;
	struct nat64_count *c = bpf_map_lookup_elem(&nat64_counts, &zero);
	u64 *next;

	if (set->flags & FLAG_TEST)
		return set->id;
	if (!c)
		return 0;
	if (!(c->id % ID_BATCH)) {
		next = bpf_map_lookup_elem(&nat64_ids, &zero);
		if (next)
			c->id = __sync_fetch_and_add(next, ID_BATCH);
	}
	return c->id++;
}

/* The second since boot in which the last tick of the coarse clock was: the exact clock is asked once a tick. */
struct nat64_second {
	u64 tick;
	u32 now, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct nat64_second);
} nat64_second SEC(".maps");

INLINE u32 seconds(const struct nat64_settings *set)
{
	u64 tick = bpf_ktime_get_coarse_ns();
	struct nat64_second *s;
	u32 zero = 0;

	if (set->flags & FLAG_TEST)
		return set->now;
	s = bpf_map_lookup_elem(&nat64_second, &zero);
	if (!s)
		return 0;
	if (s->tick != tick) {
		s->now = (u32)(bpf_ktime_get_boot_ns() / 1000000000);
		s->tick = tick;
	}
	return s->now;
}

/* left_alone leaves a packet to the kernel or, at the device, to the translator. */
INLINE int left_alone(struct __sk_buff *skb, const struct met *m)
{
	if (!m->early)
		done(skb, LEFT_ALONE);
	else
		skb->cb[0] = LEFT_ALONE;
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
INLINE int to4(struct __sk_buff *skb, const struct nat64_settings *set, const struct met *m)
{
	u32 at = m->at, length = skb->len - at, jumbo = 0, link = 0, total;
	enum onward how = BY_KERNEL;
	struct ends from = {}, to = {};
	struct upper u = {};
	struct ip4 out = {};
	int found, sure;
	struct way *w;
	struct ip6 in;
	u32 now;
	u8 proto;

	if (load(skb, at, &in, IPV6_LEN) || in.version >> 4 != 6 || in.hops <= m->early)
		return left_alone(skb, m);
	proto = in.next;
	if (!in.length && skb->gso_size) { /* more than 64 KiB: a jumbo payload option before Linux 6.19 (RFC 2675) */
		u8 option[8];

		if (proto == HOP_BY_HOP) {
			if (bpf_skb_load_bytes(skb, at + IPV6_LEN, option, 8) || option[1] || option[2] != 0xc2 || option[3] != 4)
				return left_alone(skb, m);
			jumbo = 8;
			proto = option[0];
		}
	} else if (IPV6_LEN + bpf_ntohs(in.length) != length) {
		return left_alone(skb, m);
	}
	u.at = at + IPV6_LEN + jumbo;
	u.length = length - IPV6_LEN - jumbo;
	from.src = in.src;
	from.dst = in.dst;
	if (!read_upper(skb, &u, &from, proto, PROTO_ICMP6, 128, 129, 0))
		return left_alone(skb, m);
	now = seconds(set);
	out.class = in.version << 4 | in.class >> 4;
	w = way_of(&from);
	if (is_kept(w, set, &from, out.class, IPV4_LEN + u.wire))
		how = BY_WAY;
	sure = how == BY_WAY || !m->early;
	found = known(&from, &to, sure ? u.event : ONLY_LOOK, now);
	if (!found && !may_begin(set, &from))
		return left_alone(skb, m);
	if (!sure && !is_led(skb, &from, AF_IPV6, *(u32 *)&in, m->device))
		return left_alone(skb, m);
	if (!found && !begin(&from, &to, u.event, now))
		return left_alone(skb, m);

	if (how != BY_WAY && (set->flags & FLAG_DIRECT)) {
		link = next_hop(skb, &from, &to, (IPV4_LEN + u.wire > 0xffff ? 0xffff : IPV4_LEN + u.wire) | (u32)out.class << 16, m->device);
		how = link ? BY_NEIGHBOUR : BY_KERNEL;
	}
	if (how == BY_KERNEL && m->early)
		return left_alone(skb, m);
	if (found && !sure && !known(&from, &to, u.event, now))
		return left_alone(skb, m);

	total = IPV4_LEN + u.length;
	out.version = 0x45;
	out.length = total > 0xffff ? 0 : bpf_htons(total);
	out.id = bpf_htons(identification(set));
	out.offset = IPV4_LEN + u.wire > UNFRAGMENTED ? bpf_htons(0x4000) : 0;
	out.hops = hop_limit(in.hops, m, how);
	out.proto = from.proto;
	out.src = to.src.w[3];
	out.dst = to.dst.w[3];
	out.check = ~folded(plus(0, &out, IPV4_LEN / 4));

	if (from.proto == PROTO_ICMP4) {
		if (echo_to4(skb, &from, &to, u.at, u.length << 8 | (u8)u.icmp))
			return TC_ACT_SHOT;
	} else if (rewrite_upper(skb, &u, &from, &to, plus(less(0, &in.src, 8), &out.src, 2))) {
		return TC_ACT_SHOT;
	}
	if (jumbo && bpf_skb_adjust_room(skb, -8, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_SHOT;
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) || bpf_skb_store_bytes(skb, at, &out, IPV4_LEN, BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_SHOT;
	done(skb, how == BY_KERNEL ? AGAIN4 : DIRECT4);
	return send_on(skb, m, w, link, how);
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
INLINE int to6(struct __sk_buff *skb, const struct nat64_settings *set, const struct met *m)
{
	u32 at = m->at, length = skb->len - at, link = 0, padded;
	enum onward how = BY_KERNEL;
	struct ends from = {}, to = {};
	struct upper u = {};
	struct ip6 out = {};
	struct way *w;
	struct ip4 in;
	int sure;
	u32 now;

	if (load(skb, at, &in, IPV4_LEN))
		return left_alone(skb, m);
	padded = m->early && !skb->gso_size && length > bpf_ntohs(in.length); /* short frames have 60 bytes (IEEE 802.3 4.2.3.3) */
	if (padded)
		length = bpf_ntohs(in.length);
	if (in.version != 0x45 || length < IPV4_LEN || in.hops <= m->early || bpf_ntohs(in.length) != length || (in.offset & bpf_htons(0x3fff)) ||
	    folded(plus(0, &in, IPV4_LEN / 4)) != 0xffff)
		return left_alone(skb, m);
	u.at = at + IPV4_LEN;
	u.length = length - IPV4_LEN;
	mapped(&from.src, in.src);
	mapped(&from.dst, in.dst);
	if (!read_upper(skb, &u, &from, in.proto, PROTO_ICMP4, 8, 0, 1) || IPV6_LEN + u.wire > set->mtu6)
		return left_alone(skb, m);
	now = seconds(set);
	w = way_of(&from);
	if (is_kept(w, set, &from, in.class, IPV6_LEN + u.wire))
		how = BY_WAY;
	sure = (how == BY_WAY || !m->early) && !padded;
	if (!known(&from, &to, sure ? u.event : ONLY_LOOK, now))
		return left_alone(skb, m);
	if (how != BY_WAY && m->early && !(set->flags & FLAG_SHARE) && !is_led(skb, &from, AF_IPV4, 0, m->device))
		return left_alone(skb, m); /* the host's own address leads to the host, but for its ports that are bound */

	out.version = 6 << 4 | in.class >> 4;
	out.class = in.class << 4;
	if (how != BY_WAY && (set->flags & FLAG_DIRECT)) {
		link = next_hop(skb, &from, &to, (IPV6_LEN + u.wire) | (u32)in.class << 16 | TO_IPV6, m->device);
		how = link ? BY_NEIGHBOUR : BY_KERNEL;
	}
	if ((how == BY_KERNEL && m->early) || (padded && bpf_skb_change_tail(skb, at + length, 0)) || (!sure && !known(&from, &to, u.event, now)))
		return left_alone(skb, m);
	out.length = bpf_htons(u.length);
	out.next = in.proto == PROTO_ICMP4 ? PROTO_ICMP6 : in.proto;
	out.hops = hop_limit(in.hops, m, how);
	out.src = to.src;
	out.dst = to.dst;

	if (from.proto == PROTO_ICMP4) {
		if (echo_to6(skb, &from, &to, u.at, u.length << 8 | (u8)u.icmp))
			return TC_ACT_SHOT;
	} else if (rewrite_upper(skb, &u, &from, &to, plus(less(0, &in.src, 2), &out.src, 8))) {
		return TC_ACT_SHOT;
	}
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) || bpf_skb_store_bytes(skb, at, &out, IPV6_LEN, BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_SHOT;
	done(skb, how == BY_KERNEL ? AGAIN6 : DIRECT6);
	return send_on(skb, m, w, link, how);
}

INLINE int translated(struct __sk_buff *skb, const struct met *m)
{
	struct nat64_settings *set;
	u32 zero = 0;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !(set->flags & FLAG_ON) || (m->early && !(set->flags & FLAG_DIRECT)))
		return left_alone(skb, m);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return to4(skb, set, m);
	if (skb->protocol == bpf_htons(ETH_P_IP) && (!m->early || (set->flags & (FLAG_EARLY4 | FLAG_SHARE))))
		return to6(skb, set, m);
	return left_alone(skb, m);
}

SEC("tc")
int nat64(struct __sk_buff *skb)
{
	struct met m = { .at = link_header, .device = skb->ifindex };

	return translated(skb, &m);
}

SEC("tc")
int nat64_early(struct __sk_buff *skb)
{
	struct met m = { .at = ETHER_LEN, .device = nat64_device_index(), .early = 1 };

	if (!m.device || skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return left_alone(skb, &m);
	return translated(skb, &m);
}
