package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"hexapod.dev/lab/place"
)

// needs are the kernel features without which there is no lab, by a file that exists only with them. veth is found out by
// making the first cable, as a module may be loaded by that.
var needs = []struct{ file, feature string }{
	{"/proc/self/ns/net", "network namespaces (CONFIG_NET_NS)"},
	{"/proc/self/ns/mnt", "mount namespaces"},
	{"/proc/self/ns/uts", "UTS namespaces (CONFIG_UTS_NS)"},
	{"/proc/sys/net/ipv6", "IPv6 (CONFIG_IPV6, and no ipv6.disable=1 at boot)"},
}

// Preflight tells in words why this machine cannot run a lab, or returns nil.
func Preflight() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces and therefore needs root: run it with sudo")
	}
	var missing []error
	for _, n := range needs {
		if _, err := os.Stat(n.file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, fmt.Errorf("this kernel has no %s", n.feature))
		}
	}
	tree, err := place.OpenTree()
	if err == nil {
		err = tree.Close()
	}
	if err != nil {
		missing = append(missing, err)
	}
	// A container without CAP_SYS_ADMIN is root in name only.
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		missing = append(missing, fmt.Errorf("read the capabilities of this process: %w", err))
	} else if caps[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 || caps[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		missing = append(missing, errors.New("this root lacks CAP_SYS_ADMIN or CAP_NET_ADMIN: run the container with --privileged"))
	}
	if len(missing) > 0 {
		return fmt.Errorf("this machine cannot run a lab: %w", errors.Join(missing...))
	}
	return nil
}
