// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The stubs: what really hangs on links. Each says where it hangs and calls the generation in the slot; an empty slot is met
 * by the safe end.
 */
#include "slot.h"

#include <linux/pkt_cls.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Nothing leaves an endpoint unjudged. */
SEC("tc")
int stub_from_endpoint(struct __sk_buff *skb)
{
	skb->cb[CB_PLACE] = FROM_ENDPOINT;
	bpf_tail_call(skb, &slot, SLOT_ENTRY);
	return TC_ACT_SHOT;
}

/* The host itself must stay reachable; what goes on to an endpoint is judged at its link, where an empty slot drops. */
SEC("tc")
int stub_from_uplink(struct __sk_buff *skb)
{
	skb->cb[CB_PLACE] = FROM_UPLINK;
	bpf_tail_call(skb, &slot, SLOT_ENTRY);
	return TC_ACT_UNSPEC;
}

/* Nothing reaches an endpoint unjudged. */
SEC("tc")
int stub_to_endpoint(struct __sk_buff *skb)
{
	skb->cb[CB_PLACE] = TO_ENDPOINT;
	bpf_tail_call(skb, &slot, SLOT_ENTRY);
	return TC_ACT_SHOT;
}
