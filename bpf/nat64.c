// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The fast path of NAT64: packets of known flows are translated where they would leave for the translator (linux/nat64), without a process.
 *
 * It hangs on the egress of the TUN device, so that the kernel's routes and everything that judges packets on the way there come first. What it
 * does not translate goes on into the device. Each packet becomes, byte by byte, what model/xlat makes of it. Flows are entered by the
 * translator, in memory that it shares with this program: the shapes are those of model/xlat/nat64/fast.go.
 */
#include "hexapod.h"
#include "pool.h"
#include "bound.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define IPV4_LEN 20
#define IPV6_LEN 40
#define ETHER_LEN 14
#define UNFRAGMENTED 1260 /* model/xlat: unfragmented4 */

#define HOP_BY_HOP 0
#define PROTO_ICMP4 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

#define MARK_MASK 0x0f000000U /* forward.h: a translated packet was judged by nobody yet */

/* Test runs have an Ethernet header in front; packets of the device have none. */
const volatile u32 link_header;
const volatile u32 bucket_mask = 8191; /* buckets less one */

/* model/xlat/nat64.Steps: what state a TCP session goes to, and in the upper half what becomes of its life. */
const volatile u8 tcp_steps[64];

#define STEP_KEEP 0
#define STEP_TRANS 1

/* The ends of a flow in one family; IPv4 addresses as ::ffff:0:0/96 has them. Protocols are IPv4's. */
struct ends {
	union addr src, dst;
	u16 src_port, dst_port; /* network order */
	u8 proto, pad[3];
};

#define ENTRY_OUT 1 /* of packets from IPv6; it holds the life of the flow */
#define ENTRY_BACK 2

struct entry {
	u64 life; /* state of TCP in the upper half, the second it ends in the lower */
	u32 used;
	u32 twin; /* place of the entry of the other direction */
	struct ends from, to;
};

#define ENTRY_BUSY 3 /* being written */
#define ENTRY_KINDS 0xff
#define ENTRY_ONCE 0x100 /* above the kind: how often it was written */

#define WAYS 4

struct bucket {
	struct entry entry[WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8192); /* a power of two; the loader may choose another one */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct bucket);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_flows SEC(".maps");

#define FLAG_ON 1
#define FLAG_DIRECT 2 /* hand packets to the next hop; else the kernel's routes take them on */
#define FLAG_TEST 4   /* clock and identification are those of the settings */
#define FLAG_BEGIN 8  /* begin flows to the prefix of the settings */
#define FLAG_SHARE 16 /* the address is the host's own: mark the ports of flows that begin */

struct nat64_settings {
	u64 seed;
	u64 secret[2];
	u32 prefix[4]; /* the first Pref64; its last word is not used */
	u32 flags;
	u32 mtu6;
	u32 life_udp, life_icmp, life_trans, life_est; /* seconds */
	u32 now, id;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct nat64_settings);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} nat64_settings SEC(".maps");

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

INLINE void mapped(union addr *a, u32 four)
{
	a->d[0] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = four;
}

INLINE u64 differ(const struct ends *x, const struct ends *y)
{
	const u64 *a = (const u64 *)x, *b = (const u64 *)y;

	return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]);
}

INLINE u64 mixed(u64 h, u64 w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

/* bucket_of is model/xlat/nat64.place: of ends, or of those of the answer. */
INLINE u32 bucket_of(const struct ends *k, int answer, u64 seed)
{
	const union addr *src = answer ? &k->dst : &k->src, *dst = answer ? &k->src : &k->dst;
	u64 ports = answer ? (u64)k->dst_port | (u64)k->src_port << 16 : (u64)k->src_port | (u64)k->dst_port << 16;
	u64 h = mixed(mixed(mixed(mixed(seed, src->d[0]), src->d[1]), dst->d[0]), dst->d[1]);

	h = mixed(h, ports | (u64)k->proto << 32);
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 32;
	return (u32)h & bucket_mask;
}

/* lives keeps a flow alive by one of its packets; 0 where that is the translator's to decide. */
INLINE int lives(u64 *life, u32 proto, u32 event, const struct nat64_settings *set, u32 now)
{
	u64 old = *(volatile u64 *)life, new, at;
	u32 step, ends = (u32)old;

	if ((int)(ends - now) <= 0)
		return 0;
	if (proto != PROTO_TCP) {
		new = (u64)now + (proto == PROTO_UDP ? set->life_udp : set->life_icmp);
		if (new != old)
			*(volatile u64 *)life = new;
		return 1;
	}
	at = (old >> 32 & 7) << 3 | (event & 7);
	asm volatile("" : "+r"(at)); /* or the compiler drops the mask, which Linux 6.1 wants to see */
	step = tcp_steps[at & 63];
	if (step >> 4 != STEP_KEEP)
		ends = now + (step >> 4 == STEP_TRANS ? set->life_trans : set->life_est);
	new = (u64)(step & 15) << 32 | ends;
	return new == old || __sync_val_compare_and_swap(life, old, new) == old;
}

/* lives_at is lives, by the place of the entry that holds the life. */
INLINE int lives_at(u32 place, u32 proto, u32 event, const struct nat64_settings *set, u32 now)
{
	u32 at = place / WAYS;
	struct bucket *b = bpf_map_lookup_elem(&nat64_flows, &at);

	return b && lives(&b->entry[place & (WAYS - 1)].life, proto, event, set, now);
}

/* known finds the flow of a packet and what its ends become; 0 when there is none. */
GLOBAL int known(const struct ends *from, struct ends *to, u32 event, u32 now)
{
	struct nat64_settings *set;
	struct bucket *b;
	u32 at, zero = 0;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !from || !to)
		return 0;
	at = bucket_of(from, 0, set->seed);
	b = bpf_map_lookup_elem(&nat64_flows, &at);
	if (!b)
		return 0;
#pragma unroll
	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &b->entry[i];
		u32 used = *(volatile u32 *)&e->used;

		if (!(used & ENTRY_KINDS) || differ(&e->from, from))
			continue;
		used = __sync_fetch_and_or(&e->used, 0); /* a full barrier, and one behind what is read */
		*to = e->to;
		if (differ(&e->from, from) || __sync_fetch_and_or(&e->used, 0) != used)
			return 0;
		if ((used & ENTRY_KINDS) == ENTRY_OUT)
			return lives(&e->life, from->proto, event, set, now);
		if ((used & ENTRY_KINDS) != ENTRY_BACK)
			return 0;
		return lives_at(e->twin, from->proto, event, set, now);
	}
	return 0;
}

/* entry_for takes a free entry for ends, or for those of the answer, and returns its place and one; 0: there is none. */
GLOBAL u32 entry_for(const struct ends *k, u32 answer, u64 seed)
{
	struct bucket *b;
	u32 at;

	if (!k)
		return 0;
	at = answer ? bucket_of(k, 1, seed) : bucket_of(k, 0, seed);
	b = bpf_map_lookup_elem(&nat64_flows, &at);
	if (!b)
		return 0;
	for (u32 i = 0; i < WAYS; i++) {
		struct entry *e = &b->entry[i];
		u32 used = *(volatile u32 *)&e->used;

		if (used & ENTRY_KINDS)
			continue;
		if (__sync_val_compare_and_swap(&e->used, used, (used + ENTRY_ONCE) | ENTRY_BUSY) == used)
			return at * WAYS + i + 1;
	}
	return 0;
}

INLINE struct entry *entry_at(u32 place)
{
	u32 at = place / WAYS;
	struct bucket *b = bpf_map_lookup_elem(&nat64_flows, &at);

	return b ? &b->entry[place & (WAYS - 1)] : 0;
}

/* enter_turned writes an entry of the ends of answers. */
INLINE void enter_turned(struct ends *into, const struct ends *k)
{
	into->src = k->dst;
	into->dst = k->src;
	into->src_port = k->dst_port;
	into->dst_port = k->src_port;
	into->proto = k->proto;
	into->pad[0] = into->pad[1] = into->pad[2] = 0;
}

/* enter writes both entries of a flow, and returns the place of the first and one. */
GLOBAL u32 enter(const struct ends *from, const struct ends *to, u64 seed, u64 life)
{
	struct entry *out, *in;
	u32 out_at, in_at;

	if (!from || !to)
		return 0;
	out_at = entry_for(from, 0, seed);
	if (!out_at)
		return 0;
	in_at = entry_for(to, 1, seed);
	out = entry_at(out_at - 1);
	if (!out)
		return 0;
	if (!in_at) {
		__sync_fetch_and_and(&out->used, ~ENTRY_KINDS);
		return 0;
	}
	in = entry_at(in_at - 1);
	if (!in)
		return 0;
	in->twin = out_at - 1;
	enter_turned(&in->from, to);
	enter_turned(&in->to, from);
	*(volatile u64 *)&in->life = life;
	out->twin = in_at - 1;
	out->from = *from;
	out->to = *to;
	*(volatile u64 *)&out->life = life;
	__sync_fetch_and_xor(&in->used, ENTRY_BUSY ^ ENTRY_BACK);
	__sync_fetch_and_xor(&out->used, ENTRY_BUSY ^ ENTRY_OUT);
	return out_at;
}

/* begin makes a flow of the first packet of an end of an endpoint, and tells the translator by the log; 0: it is the translator's to decide. */
GLOBAL int begin(const struct ends *from, struct ends *to, u32 event, u32 now)
{
	u32 zero = 0, place, udp, port, began = LOG_NOTHING;
	struct nat64_settings *set;
	struct begun *log;
	struct room *r;
	u64 head, taken, life, *word;

	set = bpf_map_lookup_elem(&nat64_settings, &zero);
	if (!set || !from || !to || !(set->flags & FLAG_BEGIN))
		return 0;
	udp = from->proto == PROTO_UDP;
	if (!udp && (from->proto != PROTO_TCP || event))
		return 0;
	if (from->dst.w[0] != set->prefix[0] || from->dst.w[1] != set->prefix[1] || from->dst.w[2] != set->prefix[2] || is_held_back(from->dst.w[3]))
		return 0;
	place = room_of(&from->src, set->seed);
	if (!place)
		return 0;
	r = room_at(place);
	log = bpf_map_lookup_elem(&nat64_rooms, &zero);
	if (!r || !log)
		return 0;
	head = *(volatile u64 *)&log->head;
	if ((__s64)(*(volatile u64 *)&log->limit - head) <= 0)
		return 0;
	port = bpf_ntohs(from->src_port);
	word = &r->sources[udp][port >> 6 & (SOURCE_WORDS - 1)];
	if (is_taken(word, port))
		return 0;
	if (__sync_val_compare_and_swap(&log->head, head, head + 1) != head)
		return 0;
	if (!claim(word, port))
		goto told;
	taken = port_of(place, udp, place_of(&from->src, from->src_port, from->proto, set->secret[0], set->secret[1]), port);
	if (!taken)
		goto undo;
	if (set->flags & FLAG_SHARE)
		set_bound(from->proto, taken >> BLOCK_PORT & 0xffff);
	mapped(&to->src, (u32)taken);
	mapped(&to->dst, from->dst.w[3]);
	to->src_port = bpf_htons(taken >> BLOCK_PORT);
	to->dst_port = from->dst_port;
	to->proto = from->proto;
	life = udp ? now + set->life_udp : 2ULL << 32 | (now + set->life_trans); /* model/xlat/nat64: V6Init */
	began = enter(from, to, set->seed, life);
	if (began)
		goto told;
	began = LOG_NOTHING;
	if (set->flags & FLAG_SHARE)
		clear_bound(from->proto, taken >> BLOCK_PORT & 0xffff);
	give_back(r, taken, udp);
undo:
	release(word, port);
told:
	__sync_lock_test_and_set(&log->place[head & (LOG_SIZE - 1)], began);
	return began != LOG_NOTHING;
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
