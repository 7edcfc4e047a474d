/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What every program of Hexapod begins with: the kernel's types and helpers, and the layout version of pinned maps.
 *
 * Programs touch no structure of the kernel besides those of its user interface (linux/bpf.h), drops.c excepted, so one object
 * runs on every kernel from 6.1 on, and one serves amd64 and arm64: both are little endian.
 */
#pragma once

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

/* Words of memory that has another type. */
typedef u16 __attribute__((may_alias)) word16;
typedef u32 __attribute__((may_alias)) word32;
typedef u64 __attribute__((may_alias)) word64;

#define INLINE static __attribute__((always_inline)) inline

/* A global function: the verifier looks at it once, whoever calls it, and its pointers may be null. */
#define GLOBAL __attribute__((noinline))

/* An IPv6 address in network byte order, read as it is most convenient. */
union addr {
	u8 b[16];
	u16 h[8];
	u32 w[4];
	u64 d[2];
};

INLINE int addr_equal(const union addr *a, const union addr *b)
{
	return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

/* is_same is 1 where x and y are equal, 0 else, without a branch: branches in loops multiply what the verifier has to look at. */
INLINE u32 is_same(u32 x, u32 y)
{
	u64 d = x ^ y;

	asm volatile("" : "+r"(d)); /* or the compiler finds the branch again */
	return (d - 1) >> 63;
}
