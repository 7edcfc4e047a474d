package child

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refused are the system calls that a child never needs and that somebody who took it over would: other programs, other processes,
// other namespaces, mounts, and the parts of the kernel that had most of the holes. They fail with EPERM.
var refused = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
	unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
	unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_INIT_MODULE,
	unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_CAPSET, unix.SYS_MOUNT_SETATTR,
}

// newNamespaces are the flags of clone(2) that make namespaces: to refuse setns and unshare alone would leave that door open.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Values of the classic BPF of seccomp(2): <linux/bpf_common.h>, <linux/seccomp.h>.
const (
	loadWord    = 0x20 // BPF_LD|BPF_W|BPF_ABS
	jumpEqual   = 0x15 // BPF_JMP|BPF_JEQ|BPF_K
	jumpAtLeast = 0x35 // BPF_JMP|BPF_JGE|BPF_K
	jumpAnyOf   = 0x45 // BPF_JMP|BPF_JSET|BPF_K
	ret         = 0x06 // BPF_RET|BPF_K
	atNumber    = 0    // offsets in struct seccomp_data
	atArch      = 4
	atFirstArg  = 16 // its lower half: the machines here are little-endian
	allow       = 0x7fff0000
	kill        = 0x80000000
	failWith    = 0x00050000
	setFilter   = 1 // SECCOMP_SET_MODE_FILTER
	allThreads  = 1 // SECCOMP_FILTER_FLAG_TSYNC
	auditAMD64  = 0xc000003e
	auditARM64  = 0xc00000b7
	auditOfNone = 0
	// firstX32 is the lowest number of a call by the x32 ABI, which has the architecture of amd64 and numbers of its own (<asm/unistd.h>).
	firstX32 = 0x40000000
)

func audit() uint32 {
	switch runtime.GOARCH {
	case "amd64":
		return auditAMD64
	case "arm64":
		return auditARM64
	}
	return auditOfNone
}

// confine takes from every thread of this process what it will never need: new privileges by executing a file, and the system calls
// above. It cannot be undone.
func confine() error {
	arch := audit()
	if arch == auditOfNone {
		return fmt.Errorf("children are not confined on %s: its system calls are not known here", runtime.GOARCH)
	}
	filter := []unix.SockFilter{
		{Code: loadWord, K: atArch},
		{Code: jumpEqual, K: arch, Jt: 1},
		{Code: ret, K: kill}, // calls of a 32-bit program have other numbers
		{Code: loadWord, K: atNumber},
		{Code: jumpAtLeast, K: firstX32, Jf: 1},
		{Code: ret, K: failWith | uint32(unix.EPERM)},
		// The flags of clone3 lie in memory, where a filter cannot look. Without it programs use clone (clone(2)).
		{Code: jumpEqual, K: unix.SYS_CLONE3, Jf: 1},
		{Code: ret, K: failWith | uint32(unix.ENOSYS)},
	}
	for _, number := range refused {
		filter = append(filter, unix.SockFilter{Code: jumpEqual, K: number, Jf: 1}, unix.SockFilter{Code: ret, K: failWith | uint32(unix.EPERM)})
	}
	filter = append(filter,
		unix.SockFilter{Code: jumpEqual, K: unix.SYS_CLONE, Jf: 3},
		unix.SockFilter{Code: loadWord, K: atFirstArg},
		unix.SockFilter{Code: jumpAnyOf, K: newNamespaces, Jf: 1},
		unix.SockFilter{Code: ret, K: failWith | uint32(unix.EPERM)},
		unix.SockFilter{Code: ret, K: allow})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	// The filter goes to all threads of the process at once, and no_new_privs with it (seccomp(2), SECCOMP_FILTER_FLAG_TSYNC).
	if r, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, allThreads, uintptr(unsafe.Pointer(&program))); errno != 0 || r != 0 {
		return fmt.Errorf("confine the process: thread %d, %w", r, errno)
	}
	return nil
}
