// Package hostid tells which machine this is, which boot, which copy of a virtual machine, and whether its clock is right.
//
// A host that is restored from an image or a snapshot must notice it: its records may be older than what it has done.
package hostid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotShown is returned by Generation on hosts without a VM generation id, or whose kernel does not show it.
var ErrNotShown = errors.New("this host shows no VM generation id")

// Machine returns the 32 hex digits of machine-id(5). root is the file system of the host, os.DirFS("/").
func Machine(root fs.FS) (string, error) {
	const file = "etc/machine-id"
	id, err := line(root, file)
	if err != nil {
		return "", fmt.Errorf("machine id: %w; make one with systemd-machine-id-setup", err)
	}
	// machine-id(5): "uninitialized" stands in the file during the first boot.
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 || id != strings.ToLower(id) {
		return "", fmt.Errorf("machine id: /%s says %q, not 32 lower-case hex digits; make one with systemd-machine-id-setup", file, id)
	}
	if strings.Trim(id, "0") == "" {
		return "", fmt.Errorf("machine id: /%s is all zero; make one with systemd-machine-id-setup", file)
	}
	return id, nil
}

// Boot returns the id the kernel made for itself when it started (random(4), boot_id), a UUID.
func Boot(root fs.FS) (string, error) {
	const file = "proc/sys/kernel/random/boot_id"
	id, err := line(root, file)
	if err != nil {
		return "", fmt.Errorf("boot id: %w; is /proc mounted?", err)
	}
	if raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err != nil || len(raw) != 16 {
		return "", fmt.Errorf("boot id: /%s says %q, not a UUID", file, id)
	}
	return id, nil
}

// Generation returns the VM generation id as 32 hex digits: it changes when a virtual machine is restored from a snapshot
// or copied. Linux shows it only through QEMU's firmware configuration device; elsewhere the error is ErrNotShown.
func Generation(root fs.FS) (string, error) {
	const file = "sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw"
	const at, size = 40, 16 // QEMU docs/specs/vmgenid: the GUID stands at offset 40 of the blob
	blob, err := fs.ReadFile(root, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", ErrNotShown
	case err != nil:
		return "", fmt.Errorf("VM generation id: %w", err)
	case len(blob) < at+size:
		return "", fmt.Errorf("VM generation id: /%s has %d bytes, want at least %d", file, len(blob), at+size)
	}
	return hex.EncodeToString(blob[at : at+size]), nil
}

func line(root fs.FS, file string) (string, error) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return "", fmt.Errorf("/%s: %w", file, cause(err))
	}
	return strings.TrimSpace(string(b)), nil
}

// cause drops the path from an error whose message names the file already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Clock is what the kernel says of its clock.
type Clock struct {
	Synchronised bool          // some program keeps it, and did so lately
	MaxError     time.Duration // how wrong it may be
}

// ReadClock asks the kernel (adjtimex(2)). A clock that nobody has set right for some hours, or ever, is not synchronised.
func ReadClock() (Clock, error) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err != nil {
		return Clock{}, fmt.Errorf("state of the kernel's clock (adjtimex): %w", err)
	}
	return clockOf(state, tx), nil
}

// timeError is the clock state "not synchronised" (TIME_ERROR).
const timeError = 5

func clockOf(state int, tx unix.Timex) Clock {
	return Clock{
		Synchronised: tx.Status&unix.STA_UNSYNC == 0 && state != timeError,
		MaxError:     time.Duration(tx.Maxerror) * time.Microsecond,
	}
}
