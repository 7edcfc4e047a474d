// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The decision of connect.c as a program that a test can run: the kernel has no test runs for programs of a cgroup. It reads a
 * struct service_call after an Ethernet header and leaves its answer, struct service_seat, in its place. Tests alone load it.
 */
#include "service.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define CALL_OFFSET 14

SEC("tc")
int service_twin(struct __sk_buff *skb)
{
	struct service_call c;
	struct service_seat seat = {};

	if (bpf_skb_load_bytes(skb, CALL_OFFSET, &c, sizeof(c)))
		return -1;
	int action = service_translate(&c, c.sends, &seat);

	if (bpf_skb_store_bytes(skb, CALL_OFFSET, &seat, sizeof(seat), 0))
		return -1;
	return action;
}
