// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Services at connect time: a socket that connects or sends to a service is led to a backend before a packet exists, and is
 * told the service's address wherever it asks who it talks to. No packet is rewritten and no connection tracked.
 *
 * The programs hang on a cgroup and see every socket of the processes below it, in whatever network namespace they are.
 */
#include "service.h"

#define AF_INET 2
#define AF_INET6 10
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_SCTP 132
#define PROTOCOL_MPTCP 262 /* connects as TCP does (Linux 5.6) */
#define ECONNREFUSED 111
#define DNS_PORT 53

/* Network namespaces in which a server of this host is looked for: the socket's own, and the one at the other end of the first link of an
 * endpoint, which is the host's: the kernel counts the namespaces that one knows from 0 (ip-netns(8), nsid). */
#define NETNS_OWN ((u64)BPF_F_CURRENT_NETNS)
#define NETNS_FIRST 0

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Network namespaces whose sockets are left alone, by cookie: their packets are translated one by one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_bypass SEC(".maps");

/* One entry: how many namespaces service_bypass has, so that none is looked for where there are none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_bypassed SEC(".maps");

/* What a connected socket thinks it talks to. */
struct service_peer {
	struct service_key key;
	struct service_backend backend;
};

/* Where that stands: in the place that the socket's cookie names, from its connect to its release. Memory that was given once costs a
 * connection less than a tenth of what memory of the socket's own does. Cookies follow one another, so places fill in turn. A socket of the
 * kernel's own is released without a hook: its place stays taken. */
struct service_place {
	u64 socket; /* its cookie; 0: the place is free */
	struct service_peer peer;
	u64 zero;
};

#define SERVICE_PLACES 16384 /* a power of two */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SERVICE_PLACES);
	__type(key, u32);
	__type(value, struct service_place);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_places SEC(".maps");

/* Or, where another socket has that place, in memory of its own, which goes with it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct service_peer);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_peers SEC(".maps");

/* What a datagram socket thinks its correspondents are: it may have many. Connected ones are here, too: the agent finds by it
 * which sockets talk to a backend that has gone. */
struct service_datagram {
	u64 socket;
	struct service_backend backend;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_datagram);
	__type(value, struct service_key);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_datagrams SEC(".maps");

/* What the hooks did, by struct tally. */
enum tally {
	TALLY_CONNECT = 0, /* sockets led to a backend */
	TALLY_SEND = 1, /* datagrams led to a backend */
	TALLY_REFUSE = 2, /* refused: nobody answers, or the service has no such port */
	TALLY_BYPASS = 3, /* left alone for the packets' translation */
	TALLIES = 4,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TALLIES);
	__type(key, u32);
	__type(value, u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} service_tally SEC(".maps");

INLINE void count(u32 what)
{
	u64 *n = bpf_map_lookup_elem(&service_tally, &what);

	if (n)
		*n += 1; /* of this CPU alone, and hooks are not interrupted by hooks */
}

INLINE int refuse(void)
{
	count(TALLY_REFUSE);
	bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* The address a call names. Fields of the context must be reached from its begin, each in its own width. */
INLINE void read_key(struct bpf_sock_addr *ctx, int v4, struct service_key *key)
{
	OPAQUE(ctx);
	if (v4) {
		key->addr.w[2] = bpf_htonl(0xffff);
		key->addr.w[3] = ctx->user_ip4;
	} else {
		key->addr.w[0] = ctx->user_ip6[0];
		key->addr.w[1] = ctx->user_ip6[1];
		key->addr.w[2] = ctx->user_ip6[2];
		key->addr.w[3] = ctx->user_ip6[3];
	}
	key->port = ctx->user_port;
}

INLINE void write_addr(struct bpf_sock_addr *ctx, int v4, const union addr *addr, __be16 port)
{
	OPAQUE(ctx);
	if (v4) {
		ctx->user_ip4 = addr->w[3];
	} else {
		ctx->user_ip6[0] = addr->w[0];
		ctx->user_ip6[1] = addr->w[1];
		ctx->user_ip6[2] = addr->w[2];
		ctx->user_ip6[3] = addr->w[3];
	}
	ctx->user_port = port;
}

/* protocol_of is the protocol of a service that a socket can ask for; 0: none. */
INLINE u8 protocol_of(struct bpf_sock_addr *ctx)
{
	switch (ctx->protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_MPTCP:
		return PROTOCOL_TCP;
	case PROTOCOL_UDP:
		return PROTOCOL_UDP;
	case PROTOCOL_SCTP:
		return PROTOCOL_SCTP;
	}
	return 0;
}

INLINE void remember_datagram(const struct service_call *c, const struct service_seat *seat)
{
	struct service_datagram d = { .socket = c->socket, .backend = seat->backend };

	bpf_map_update_elem(&service_datagrams, &d, &c->key, BPF_ANY);
}

INLINE struct service_place *place_of(u64 socket)
{
	u32 at = socket & (SERVICE_PLACES - 1);

	return bpf_map_lookup_elem(&service_places, &at);
}

/* peer_of is where a socket's correspondent is noted, 0 where none is. With anew it is to be noted: a place that is free is taken. */
INLINE struct service_peer *peer_of(struct bpf_sock_addr *ctx, int anew)
{
	u64 socket = bpf_get_socket_cookie(ctx);
	struct service_place *place = place_of(socket);
	struct bpf_sock *sk = ctx->sk;

	if (place && (place->socket == socket || (anew && !place->socket && !__sync_val_compare_and_swap(&place->socket, 0, socket))))
		return &place->peer;
	return sk ? bpf_sk_storage_get(&service_peers, sk, 0, anew ? BPF_SK_STORAGE_GET_F_CREATE : 0) : 0;
}

INLINE void remember_peer(struct bpf_sock_addr *ctx, const struct service_call *c, const struct service_seat *seat)
{
	struct service_peer *p = peer_of(ctx, 1);

	if (p) {
		p->key = c->key;
		p->backend = seat->backend;
	}
}

/* listens_in reports whether a socket of a network namespace is bound to a backend's address; one that is bound to all does not count. */
INLINE int listens_in(struct bpf_sock_addr *ctx, const struct service_backend *b, u64 netns)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int is;

	__builtin_memcpy(t.ipv6.saddr, b->addr.w, sizeof(t.ipv6.saddr));
	__builtin_memcpy(t.ipv6.daddr, b->addr.w, sizeof(t.ipv6.daddr));
	t.ipv6.dport = b->port;
	sk = bpf_sk_lookup_udp(ctx, &t, sizeof(t.ipv6), netns, 0);
	if (!sk)
		return 0;
	is = sk->src_ip6[0] == b->addr.w[0] && sk->src_ip6[1] == b->addr.w[1] && sk->src_ip6[2] == b->addr.w[2] &&
	     sk->src_ip6[3] == b->addr.w[3];
	bpf_sk_release(sk);
	return is;
}

/* elsewhere leads a call to others where nobody listens at the DNS server of this host: server and agent have both gone, and there is
 * nobody left to lead clients away from it. */
INLINE void elsewhere(struct bpf_sock_addr *ctx, const struct service_call *c, struct service_seat *seat)
{
	struct service_call other = *c;
	struct service_seat next = {};

	other.key.protocol |= SERVICE_ELSEWHERE;
	if (!bpf_map_lookup_elem(&service_frontends, &other.key))
		return;
	if (listens_in(ctx, &seat->backend, NETNS_OWN) || listens_in(ctx, &seat->backend, NETNS_FIRST))
		return;
	if (service_translate(&other, other.sends, &next) == SERVICE_TRANSLATE)
		*seat = next;
}

INLINE int is_bypassed(u64 netns)
{
	u32 zero = 0, *some = bpf_map_lookup_elem(&service_bypassed, &zero);

	return some && *some && bpf_map_lookup_elem(&service_bypass, &netns);
}

/* translate leads a call to a backend. It returns what the hook returns: 1 goes on, 0 fails the system call. */
INLINE int translate(struct bpf_sock_addr *ctx, int v4, int sends)
{
	struct service_call c = { .sends = sends };
	struct service_seat seat = {};
	struct service *s;

	c.key.protocol = protocol_of(ctx);
	if (!c.key.protocol)
		return 1;
	read_key(ctx, v4, &c.key);
	s = service_of(&c.key);
	if (!s && !service_owns(&c.key.addr))
		return 1;
	c.client.d[0] = bpf_get_netns_cookie(ctx);
	if (is_bypassed(c.client.d[0])) {
		count(TALLY_BYPASS);
		return 1;
	}
	if (c.key.protocol == PROTOCOL_UDP)
		c.socket = bpf_get_socket_cookie(ctx);
	c.random = bpf_get_prandom_u32();
	c.now = bpf_ktime_get_coarse_ns() / 1000000000;
	switch (service_answer(&c, c.sends, s, &seat)) {
	case SERVICE_PASS:
		return 1;
	case SERVICE_REFUSE:
		return refuse();
	case SERVICE_TRANSLATE:
		if (c.key.port == bpf_htons(DNS_PORT))
			elsewhere(ctx, &c, &seat);
		break;
	}
	if (c.key.protocol == PROTOCOL_UDP)
		remember_datagram(&c, &seat);
	else
		remember_peer(ctx, &c, &seat);
	write_addr(ctx, v4, &seat.backend.addr, seat.backend.port);
	count(sends ? TALLY_SEND : TALLY_CONNECT);
	return 1;
}

/* name shows the service's address where a socket would see the backend's. */
INLINE int name(struct bpf_sock_addr *ctx, int v4)
{
	struct service_key at = {}, *key = 0;
	u8 protocol = protocol_of(ctx);

	read_key(ctx, v4, &at);
	if (protocol == PROTOCOL_UDP) {
		struct service_datagram d = { .socket = bpf_get_socket_cookie(ctx) };

		d.backend.addr = at.addr;
		d.backend.port = at.port;
		key = bpf_map_lookup_elem(&service_datagrams, &d);
	} else if (protocol) {
		struct service_peer *p = peer_of(ctx, 0);

		if (p && p->backend.port == at.port && addr_equal(&p->backend.addr, &at.addr))
			key = &p->key;
	}
	if (key)
		write_addr(ctx, v4, &key->addr, key->port);
	return 1;
}

SEC("cgroup/connect6")
int service_connect6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, 0, 0);
}

SEC("cgroup/connect4")
int service_connect4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, 1, 0);
}

SEC("cgroup/sendmsg6")
int service_sendmsg6(struct bpf_sock_addr *ctx)
{
	return translate(ctx, 0, 1);
}

SEC("cgroup/sendmsg4")
int service_sendmsg4(struct bpf_sock_addr *ctx)
{
	return translate(ctx, 1, 1);
}

SEC("cgroup/recvmsg6")
int service_recvmsg6(struct bpf_sock_addr *ctx)
{
	return name(ctx, 0);
}

SEC("cgroup/recvmsg4")
int service_recvmsg4(struct bpf_sock_addr *ctx)
{
	return name(ctx, 1);
}

SEC("cgroup/getpeername6")
int service_getpeername6(struct bpf_sock_addr *ctx)
{
	return name(ctx, 0);
}

SEC("cgroup/getpeername4")
int service_getpeername4(struct bpf_sock_addr *ctx)
{
	return name(ctx, 1);
}

/* A socket that is released gives its place up. */
SEC("cgroup/sock_release")
int service_release(struct bpf_sock *sk)
{
	struct service_place *place;
	u64 socket;

	if (sk->protocol != PROTOCOL_TCP && sk->protocol != PROTOCOL_MPTCP && sk->protocol != PROTOCOL_SCTP)
		return 1;
	socket = bpf_get_socket_cookie(sk);
	place = place_of(socket);
	if (place && place->socket == socket)
		place->socket = 0;
	return 1;
}
