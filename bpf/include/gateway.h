/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The gateway of endpoints, fe80::1; the twin is model/datapath/gateway.go. No link of the host has the address: the kernel would keep two
 * more routes for each link, all of which it walks whenever one more comes up. Who asks for it is answered here.
 */
#pragma once

#include "lead.h"

#define ROUTER_SOLICITED_OVERRIDE 0xe0 /* flags of an advertisement (RFC 4861 4.4) */
#define ADVERT_LEN 32 /* with its one option: the link-layer address */
#define GATEWAY_HOPS 64

INLINE int is_gateway(const union addr *a)
{
	return a->d[0] == bpf_cpu_to_be64(0xfe80000000000000ULL) && a->d[1] == bpf_cpu_to_be64(1);
}

/* gateway_ask answers a solicitation that discovery has let pass (RFC 4861 7.2.4). One for another address, one with a wrong checksum and
 * one with long options is the kernel's, which answers none of them. */
GLOBAL int gateway_ask(struct __sk_buff *skb, const struct base *b, const struct header *h, const struct endpoint *self)
{
	struct service_room *r = service_room();
	struct base out;
	u32 len;

	if (!r || !b || !h || !self)
		return WHY_NEIGHBOUR;
	len = h->end - h->upper;
	if (len < DISCOVERY_LEN || len > ANSWER_LEN)
		return WHY_NEIGHBOUR;
	__builtin_memset(r->answer, 0, ANSWER_LEN);
	if (bpf_skb_load_bytes(skb, h->upper, r->answer, len))
		return WHY_NEIGHBOUR;
	out = *b;
	if (message_sum(&out, r->answer, len) & 0xffff)
		return WHY_NEIGHBOUR;
	__builtin_memcpy(&out.src, r->answer + 8, 16);
	if (!is_gateway(&out.src))
		return WHY_NEIGHBOUR;
	__builtin_memset(r->answer + DISCOVERY_LEN, 0, ANSWER_LEN - DISCOVERY_LEN);
	r->answer[0] = NEIGHBOUR_ANSWER;
	r->answer[4] = ROUTER_SOLICITED_OVERRIDE;
	r->answer[5] = r->answer[6] = r->answer[7] = 0;
	r->answer[DISCOVERY_LEN] = 2; /* target link-layer address (RFC 4861 4.6.1) */
	r->answer[DISCOVERY_LEN + 1] = 1;
	__builtin_memcpy(r->answer + DISCOVERY_LEN + 2, self->host_mac, 6);
	out.dst = b->src;
	__builtin_memcpy(out.dst_mac, b->src_mac, 6);
	__builtin_memcpy(out.src_mac, self->host_mac, 6);
	out.hops = 255;
	return turn_round(skb, &out, r, ADVERT_LEN) ? WHY_NEIGHBOUR : WHY_ANSWERED;
}

/* gateway_echo turns an echo request to the gateway round (RFC 4443 4.2); 0: it is something else, which the kernel tells that nobody is there. */
GLOBAL int gateway_echo(struct __sk_buff *skb, const struct base *b, const struct header *h)
{
	u16 ask, answer;
	struct base out;

	if (!b || !h || h->proto != PROTO_ICMP || h->type != ECHO_REQUEST || h->fragment || h->upper != ETHER_LEN + IPV6_LEN)
		return 0;
	out = *b;
	__builtin_memcpy(out.dst_mac, b->src_mac, 6);
	__builtin_memcpy(out.src_mac, b->dst_mac, 6);
	out.src = b->dst;
	out.dst = b->src;
	out.hops = GATEWAY_HOPS;
	ask = bpf_htons(ECHO_REQUEST << 8 | h->code);
	answer = bpf_htons(ECHO_REPLY << 8 | h->code);
	if (bpf_l4_csum_replace(skb, h->upper + 2, ask, answer, 2) || bpf_skb_store_bytes(skb, h->upper, &answer, 2, 0) ||
	    bpf_skb_store_bytes(skb, 0, out.dst_mac, ETHER_LEN + IPV6_LEN, 0))
		return WHY_TRUNCATED;
	return WHY_ANSWERED;
}
