// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Packets that the kernel itself drops, and its reason: tracepoint skb:kfree_skb, with reasons since Linux 5.17. It is the one program
 * that reads structures of the kernel; it names what it reads, and the loader finds where that lies (CO-RE).
 */
#include "hexapod.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define LOST_PER_SECOND 200
#define LOST_HEAD 48 /* IPv6, and 8 bytes of what follows */
#define LOST_WHERE 48

struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

struct sock_common {
	possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned char *head;
	unsigned int len;
	u16 protocol, network_header;
} __attribute__((preserve_access_index));

struct lost {
	u32 reason, link, device, length;
	u16 protocol, pad;
	u8 head[LOST_HEAD];
	char where[LOST_WHERE];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} lost SEC(".maps");

/* The namespaces that are listened to, by inode, and the link on the host's side that leads there; 0 for the host itself. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u32);
} spaces SEC(".maps");

/* Drops by programs at links have these reasons; those of ours are told with a better one (event.h). */
volatile const u32 by_ingress_program, by_egress_program;

u64 second;
u32 used;

/* may_tell is 1 for the first LOST_PER_SECOND of a second, 0 for those beyond. Processors may count past each other, by little. */
INLINE int may_tell(void)
{
	u64 now = bpf_ktime_get_ns() / 1000000000;

	if (second != now) {
		second = now;
		used = 0;
	}
	return __sync_fetch_and_add(&used, 1) < LOST_PER_SECOND;
}

/* space_of finds the namespace of a packet: its device's, or, in a queue of a socket, where it has none any more, that socket's. */
INLINE u32 *space_of(struct sk_buff *skb, u32 *device)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);
	u32 inode = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	u32 *link = bpf_map_lookup_elem(&spaces, &inode);

	if (link) {
		*device = BPF_CORE_READ(dev, ifindex);
		return link;
	}
	inode = BPF_CORE_READ(skb, sk, __sk_common.skc_net.net, ns.inum);
	return bpf_map_lookup_elem(&spaces, &inode);
}

SEC("raw_tp/kfree_skb")
int kernel_drops(struct bpf_raw_tracepoint_args *ctx)
{
	static const char symbol[] = "%ps";
	struct sk_buff *skb = (void *)ctx->args[0];
	u64 where = ctx->args[1];
	u32 reason = ctx->args[2], device = 0, *link;
	struct lost *l;

	if (reason == by_ingress_program || reason == by_egress_program)
		return 0;
	link = space_of(skb, &device);
	if (!link || !may_tell())
		return 0;
	l = bpf_ringbuf_reserve(&lost, sizeof(*l), 0);
	if (!l)
		return 0;
	__builtin_memset(l, 0, sizeof(*l));
	l->reason = reason;
	l->link = *link;
	l->device = device;
	l->length = BPF_CORE_READ(skb, len);
	l->protocol = BPF_CORE_READ(skb, protocol);
	bpf_probe_read_kernel(l->head, sizeof(l->head), BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header));
	bpf_snprintf(l->where, sizeof(l->where), symbol, &where, sizeof(where));
	bpf_ringbuf_submit(l, 0);
	return 0;
}
