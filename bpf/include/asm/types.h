/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What <linux/types.h> asks of the machine's architecture. For eBPF there is one of all. */
#include <asm-generic/int-ll64.h>
