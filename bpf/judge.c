// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * One generation of the datapath: what becomes of every packet from and to an endpoint. The stubs call it through the slot.
 * The slow twin is model/datapath/judge.go: same names, same order, same answers.
 */
#include "icmp.h"
#include "fragment.h"
#include "policy.h"
#include "forward.h"
#include "gateway.h"
#include "event.h"

#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* believed tells whether a source may arrive by this way; 0 or the reason to drop. */
GLOBAL int believed(struct __sk_buff *skb, const struct base *b)
{
	struct inside *in;
	u32 flags;

	if (!b)
		return WHY_TRUNCATED;
	if (endpoint_of(&b->src)) /* also one of a pool, whose other addresses are elsewhere */
		return WHY_FORGED_INSIDE;
	in = inside_of(&b->src);
	if (!in)
		return 0;
	if (skb->cb[CB_PLACE] == TO_ENDPOINT) /* the host masquerades what it hands on */
		return (in->flags & INSIDE_SELF) || (skb->mark & MARK_MASK) == MARK_BELIEVED ? 0 : WHY_FORGED_INSIDE;
	flags = link_flags(skb->ifindex);
	if ((in->flags & INSIDE_OWN) || (flags & LINK_OUTSIDE))
		return WHY_FORGED_INSIDE;
	if (!(flags & LINK_FLAT))
		return 0;
	if (in->flags & INSIDE_KNOWN_BY)
		return in->link == skb->ifindex && mac_equal(in->mac, b->src_mac) ? 0 : WHY_WRONG_HOST_MAC;
	return flags & LINK_GATEWAY ? 0 : WHY_FORGED_INSIDE;
}

/* to_door notes that a packet may have to be shown as a service's. */
INLINE void to_door(struct __sk_buff *skb, int passes)
{
	if (skb->cb[CB_SERVICE] != DOOR_LED && (passes & PASS_SERVICE))
		skb->cb[CB_SERVICE] = DOOR_SHOW;
}

/* sight_of makes the packet one of a flow. */
INLINE void sight_of(struct sight *p, const struct base *b, const struct header *h, const struct settings *set)
{
	p->seed = set->seed;
	p->generation = set->generation;
	p->now = clock_now(set);
	p->flags = h->flags;
	p->from_a = key_of(&p->key, &b->src, &b->dst, h->src_port, h->dst_port, h->proto);
}

#define ASK_SERVICES (-1) /* what became of a packet that may be for a service: ask there, then again */

/* known passes packets of known flows, and judges those that begin one; 0, ASK_SERVICES, or the reason to drop. */
GLOBAL int known(struct __sk_buff *skb, const struct base *b, const struct header *h, u32 owner, u32 uplink)
{
	struct settings *set;
	struct sight p = { .link = uplink };
	u32 zero = 0;
	int why, passes, asks;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !b || !h)
		return WHY_DENIED;
	sight_of(&p, b, h, set);
	p.service = skb->cb[CB_SERVICE] == DOOR_LED;
	asks = !uplink && !skb->cb[CB_SERVICE] && (set->flags & SETTING_SERVICES);
	if (uplink)
		__builtin_memcpy(p.mac, b->src_mac, 6);
	passes = flow_pass(&p);
	if (passes & PASS_YES) {
		if (asks && (passes & PASS_HALF_OPEN) && service_owns(&b->dst)) { /* it began when the service was not known yet */
			flow_remove(&p.key, p.seed, p.now);
			return ASK_SERVICES;
		}
		to_door(skb, passes);
		return 0;
	}
	if (asks && begins(&p) && !service_owns(&b->dst)) {
		skb->cb[CB_SERVICE] = DOOR_NONE; /* nobody leads a connection that begins elsewhere: most do */
		asks = 0;
	}
	if (asks)
		return ASK_SERVICES;
	why = uplink ? believed(skb, b) : 0;
	if (why)
		return why;
	why = policy(&p, set->flags & SETTING_POLICY, passes);
	if (why) {
		flow_remove(&p.key, p.seed, p.now);
		return why;
	}
	passes = flow_add(&p, owner);
	to_door(skb, passes);
	return passes ? 0 : WHY_FLOW_TABLE_FULL;
}

/* is_along tells of packets that belong to a flow and do not say by themselves to which. */
INLINE int is_along(const struct header *h)
{
	return (h->fragment && !h->first) || is_message(h);
}

/* pass judges a packet by its flow; as known. uplink is 0 for what an endpoint of this host sends. */
INLINE int pass(struct __sk_buff *skb, const struct base *b, const struct header *h, u32 owner, u32 uplink)
{
	struct settings *set;
	u32 zero = 0;
	int why;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set)
		return WHY_DENIED;
	if ((set->flags & SETTING_SERVICES) && is_along(h) && !skb->cb[CB_SERVICE])
		skb->cb[CB_SERVICE] = DOOR_SHOW;
	if (h->fragment && !h->first) {
		why = uplink ? believed(skb, b) : 0;
		return why ? why : later_fragment(b, h, clock_now(set));
	}
	if (h->proto == PROTO_ICMP && !is_echo(h->type)) {
		if (!h->type || h->type > PARAM_PROBLEM)
			return WHY_ICMP_TYPE;
		why = uplink ? believed(skb, b) : 0;
		return why ? why : icmp_error(skb, b, h, uplink, clock_now(set));
	}
	why = known(skb, b, h, owner, uplink);
	if (why)
		return why;
	return h->fragment ? first_fragment(b, h, clock_now(set)) : 0;
}

INLINE int is_locator(const union addr *a)
{
	struct inside *in;

	if (a->h[4] != bpf_htons(2))
		return 0;
	in = inside_of(a);
	return in && (in->flags & INSIDE_LOCATED);
}

/* hand_over hands a judged packet to an endpoint of this host. */
INLINE int hand_over(struct __sk_buff *skb, struct base *b, struct header *h, const struct endpoint *to)
{
	int why = deliver(skb, b, to), shown;

	if (why != WHY_LOCAL || skb->cb[CB_SERVICE] != DOOR_SHOW)
		return why;
	shown = show(skb, b, h);
	return shown ? shown : why;
}

/* from_endpoint judges what an endpoint sends. */
GLOBAL int from_endpoint(struct __sk_buff *skb)
{
	struct header h = {};
	struct endpoint *self, *to;
	struct base b;
	int why;

	if (load_base(skb, &b))
		return WHY_TRUNCATED;
	why = parse(skb, &b, &h);
	if (why)
		return why;
	if (is_unspecified(&b.src))
		return detection(skb, &b, &h);
	if (is_martian(&b.src))
		return WHY_SPOOFED_SOURCE;
	self = sender_of(&b.src, skb->ifindex);
	if (!self)
		return WHY_SPOOFED_SOURCE;
	if (!mac_equal(b.src_mac, self->mac))
		return WHY_SPOOFED_MAC;
	if (h.routing)
		return WHY_ROUTING_HEADER;
	if (is_discovery(&h)) {
		why = discovery(skb, &b, &h, self);
		return why == WHY_NEIGHBOUR && h.type == NEIGHBOUR_ASK ? gateway_ask(skb, &b, &h, self) : why;
	}
	if (is_martian(&b.dst))
		return WHY_MALFORMED;
	if (is_multicast(&b.dst))
		return WHY_MULTICAST;
	if (!mac_equal(b.dst_mac, self->host_mac))
		return WHY_FOREIGN_MAC;
	if (is_locator(&b.dst))
		return WHY_LOCATOR;
	if (is_along(&h)) {
		why = lead_along(skb, &b, &h);
		if (why)
			return why;
	}
	for (int i = 0; i < 2; i++) { /* what may be for a service is judged when it has a backend, or is known to be for none */
		why = pass(skb, &b, &h, skb->ifindex, 0); /* it is the sender's link */
		if (why != ASK_SERVICES)
			break;
		why = lead(skb, &b, &h);
		if (why)
			break;
	}
	if (!why && skb->cb[CB_SERVICE] == DOOR_LED)
		why = note_led(skb);
	if (why)
		return why;
	why = go_on(skb, &b, &h);
	if (why)
		return why;
	to = endpoint_of(&b.dst);
	if (to)
		return hand_over(skb, &b, &h, to);
	if (is_gateway(&b.dst)) {
		why = gateway_echo(skb, &b, &h);
		if (why)
			return why;
	}
	return forward(skb, &b, &h);
}

/* to_host is what the host gets over an uplink, or hands on itself. Neighbours of the host may ask it by any address of theirs. */
INLINE int to_host(struct __sk_buff *skb, const struct base *b)
{
	struct inside *in = inside_of(&b->src);

	if (!in)
		return WHY_NOT_OURS;
	if (b->next != PROTO_ICMP && ((in->flags & INSIDE_SELF) || (link_flags(skb->ifindex) & LINK_OUTSIDE)))
		return WHY_FORGED_INSIDE;
	if (!believed(skb, b))
		skb->mark |= MARK_BELIEVED;
	return WHY_NOT_OURS;
}

/* from_uplink judges what arrives for endpoints. All else is the host's business, unless it claims to come from inside. */
GLOBAL int from_uplink(struct __sk_buff *skb)
{
	struct header h = {};
	struct endpoint *self;
	struct base b;
	int why;

	if (!is_ipv6(skb) || load_base(skb, &b))
		return WHY_NOT_OURS;
	self = endpoint_of(&b.dst);
	if (!self)
		return to_host(skb, &b);
	why = parse(skb, &b, &h);
	if (why)
		return why;
	if (h.routing)
		return WHY_ROUTING_HEADER;
	if (is_discovery(&h))
		return WHY_NOT_OURS; /* a neighbour of the host asks for the endpoint: the host answers, and it goes no further */
	if (is_multicast(&b.src) || is_martian(&b.src) || is_link_local(&b.src))
		return WHY_MALFORMED;
	why = pass(skb, &b, &h, self->link, skb->ifindex);
	return why ? why : hand_over(skb, &b, &h, self);
}

/* note_host notes the flow of what the host itself sends, so that answers to it are no new flows. Its frame is its own: all frames of a
 * chain of calls together have 512 bytes, each rounded up to 32. */
GLOBAL int note_host(struct __sk_buff *skb, const struct base *b, const struct header *h, u32 owner)
{
	struct settings *set;
	struct sight p = {};
	u32 zero = 0;
	int passes;

	set = bpf_map_lookup_elem(&settings, &zero);
	if (!set || !b || !h)
		return 0;
	sight_of(&p, b, h, set);
	passes = flow_pass(&p);
	if (!(passes & PASS_YES))
		passes = flow_add(&p, owner);
	to_door(skb, passes);
	return 0;
}

/* from_host lets pass what the host itself sends to an endpoint. */
INLINE int from_host(struct __sk_buff *skb, struct base *b, struct header *h)
{
	struct endpoint *self;
	int why;

	if (parse(skb, b, h))
		return WHY_FROM_HOST;
	self = endpoint_of(&b->dst);
	if (!self || self->link != skb->ifindex)
		return WHY_FROM_HOST;
	if (is_along(h))
		skb->cb[CB_SERVICE] = DOOR_SHOW;
	else if (h->proto != PROTO_ICMP || is_echo(h->type))
		note_host(skb, b, h, self->link);
	why = skb->cb[CB_SERVICE] == DOOR_SHOW ? show(skb, b, h) : 0;
	return why ? why : WHY_FROM_HOST;
}

/* judged lets pass what was judged where it came in. */
INLINE int judged(struct __sk_buff *skb, struct base *b, struct header *h)
{
	int why;

	if ((skb->mark & MARK_MASK) == MARK_SET || parse(skb, b, h))
		return WHY_JUDGED;
	why = show(skb, b, h);
	return why ? why : WHY_JUDGED;
}

/* to_endpoint judges what the kernel delivers to an endpoint. */
GLOBAL int to_endpoint(struct __sk_buff *skb)
{
	struct header h = {};
	u32 came = skb->ingress_ifindex;
	struct endpoint *self;
	struct base b;
	int why;

	why = load_base(skb, &b);
	if (!came)
		return why ? WHY_FROM_HOST : from_host(skb, &b, &h);
	if ((skb->mark & MARK_MASK) == MARK_SET || (skb->mark & MARK_MASK) == MARK_SERVICE)
		return why ? WHY_JUDGED : judged(skb, &b, &h);
	if (!why)
		why = parse(skb, &b, &h);
	if (why)
		return why;
	self = endpoint_of(&b.dst);
	if (!self || self->link != skb->ifindex)
		return WHY_NOT_ITS_ADDRESS;
	if (h.routing)
		return WHY_ROUTING_HEADER;
	if (is_discovery(&h))
		return WHY_SPOOFED_NEIGHBOUR;
	if (is_multicast(&b.src) || is_martian(&b.src) || is_link_local(&b.src))
		return WHY_MALFORMED;
	why = pass(skb, &b, &h, self->link, came);
	if (!why && skb->cb[CB_SERVICE] == DOOR_SHOW)
		why = show(skb, &b, &h);
	return why ? why : WHY_OTHER_WAY;
}

/* arp lets an endpoint speak of itself alone (RFC 826). */
GLOBAL int arp(struct __sk_buff *skb)
{
	struct endpoint *self;
	struct {
		u16 before;
		u8 dst_mac[6];
		u8 src_mac[6];
		u16 type;
		u8 body[ARP_LEN];
	} l = {};
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

/* legacy_from judges what an endpoint sends besides IPv6. The kernel forwards it. */
GLOBAL int legacy_from(struct __sk_buff *skb)
{
	struct header h = {};
	struct endpoint *self;
	struct base b = {};
	struct ipv4 ip;
	int why;

	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return arp(skb);
	if (load_base4(skb, &b, &ip))
		return WHY_NOT_IPV6;
	self = endpoint_of(&b.src);
	if (!self || self->link != skb->ifindex)
		return WHY_NOT_IPV6;
	if (!mac_equal(b.src_mac, self->mac))
		return WHY_SPOOFED_MAC;
	if (!mac_equal(b.dst_mac, self->host_mac))
		return WHY_FOREIGN_MAC;
	why = parse4(skb, &ip, &h);
	if (why)
		return why;
	skb->cb[CB_SERVICE] = DOOR_NONE; /* services have IPv4 where sockets connect, and not here */
	why = pass(skb, &b, &h, skb->ifindex, 0);
	return why ? why : WHY_IPV4;
}

/* legacy_to judges what the kernel delivers to an endpoint besides IPv6. */
GLOBAL int legacy_to(struct __sk_buff *skb)
{
	u32 by_host = !skb->ingress_ifindex;
	struct header h = {};
	struct endpoint *self;
	struct base b = {};
	struct ipv4 ip;
	int why;

	if (!by_host && ((skb->mark & MARK_MASK) == MARK_SET || (skb->mark & MARK_MASK) == MARK_SERVICE))
		return WHY_JUDGED;
	if (load_base4(skb, &b, &ip))
		return by_host ? WHY_FROM_HOST : WHY_NOT_IPV6;
	self = endpoint_of(&b.dst);
	if (!self || self->link != skb->ifindex)
		return by_host ? WHY_FROM_HOST : WHY_NOT_IPV6;
	why = parse4(skb, &ip, &h);
	skb->cb[CB_SERVICE] = DOOR_NONE;
	if (by_host) {
		if (!why && !is_along(&h) && (h.proto != PROTO_ICMP || is_echo(h.type)))
			note_host(skb, &b, &h, self->link);
		return WHY_FROM_HOST;
	}
	if (!why)
		why = pass(skb, &b, &h, self->link, skb->ingress_ifindex);
	return why ? why : WHY_OTHER_WAY;
}

/* carry_out counts a packet under its reason and does what the reason says. */
INLINE int carry_out(struct __sk_buff *skb, u32 place, int why)
{
	u32 at = place * WHY_SLOTS + why;
	struct count *c = bpf_map_lookup_elem(&counts, &at);

	if (c) {
		c->packets++;
		c->bytes += skb->len;
	}
	skb->cb[CB_WHY] = why;
	if (why >= WHY_DROPS) {
		tell(skb, place, why);
		return TC_ACT_SHOT;
	}
	switch (why) {
	case WHY_LOCAL:
		return bpf_redirect_peer(skb->cb[CB_OUT], 0);
	case WHY_REMOTE:
		return leave(skb);
	case WHY_REFUSED:
	case WHY_ANSWERED:
		skb->mark |= MARK_SET;
		skb->cb[CB_OUT] = skb->ifindex;
		return bpf_redirect(skb->ifindex, 0);
	case WHY_KERNEL_PATH:
	case WHY_TO_HOST:
	case WHY_HOP_LIMIT:
	case WHY_TOO_BIG:
	case WHY_NEIGHBOUR:
	case WHY_IPV4:
		skb->mark |= skb->cb[CB_SERVICE] == DOOR_SHOW ? MARK_SERVICE : MARK_SET;
	}
	if (why == WHY_TO_HOST || why == WHY_NOT_OURS)
		bpf_tail_call(skb, &translate, TRANSLATE_ENTRY);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int judge(struct __sk_buff *skb)
{
	u32 place = skb->cb[CB_PLACE];
	int why;

	skb->cb[CB_OUT] = 0;
	skb->cb[CB_SERVICE] = 0;
	if (place == FROM_ENDPOINT) {
		skb->mark &= ~MARK_MASK; /* nobody outside says that a packet was judged */
		why = is_ipv6(skb) ? from_endpoint(skb) : legacy_from(skb);
	} else if (place == FROM_UPLINK) {
		skb->mark &= ~MARK_MASK;
		why = from_uplink(skb);
	} else {
		why = is_ipv6(skb) ? to_endpoint(skb) : legacy_to(skb);
	}
	if (why < 0 || why >= WHY_SLOTS)
		return TC_ACT_SHOT;
	return carry_out(skb, place, why);
}
