#include "textflag.h"

// shortEntry is where the kernel starts a program that was linked with -E shortEntry: see short.go. goShort gets the stack as the
// kernel left it, and the runtime the same if goShort returns. A Go function that is called from assembly looks for its goroutine where
// FS points to, so FS points to eight zero bytes meanwhile; the runtime sets it anew.
TEXT shortEntry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ $158, AX    // SYS_arch_prctl
	MOVQ $0x1002, DI // ARCH_SET_FS
	LEAQ shortThread<>+8(SB), SI
	SYSCALL
	MOVQ SP, BX
	SUBQ $16, SP
	MOVQ BX, 0(SP)
	CALL ·goShort(SB)
	ADDQ $16, SP
	JMP _rt0_amd64_linux(SB)

GLOBL shortThread<>(SB), NOPTR, $16
