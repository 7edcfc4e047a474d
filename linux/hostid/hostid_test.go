package hostid

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func file(path, text string) fs.FS { return fstest.MapFS{path: {Data: []byte(text)}} }

func TestIDs(t *testing.T) {
	const (
		machine = "etc/machine-id"
		boot    = "proc/sys/kernel/random/boot_id"
		vm      = "sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw"
	)
	blob := strings.Repeat("\x00", 40) + "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
	for _, tc := range []struct {
		name string
		of   func(fs.FS) (string, error)
		root fs.FS
		want string
		err  string
		is   error
	}{
		{"machine", Machine, file(machine, "0123456789abcdef0123456789abcdef\n"), "0123456789abcdef0123456789abcdef", "", nil},
		{"machine, missing", Machine, fstest.MapFS{}, "", "machine id: /etc/machine-id: file does not exist; make one with systemd-machine-id-setup", fs.ErrNotExist},
		{"machine, first boot", Machine, file(machine, "uninitialized\n"), "", `says "uninitialized"`, nil},
		{"machine, empty", Machine, file(machine, ""), "", `says ""`, nil},
		{"machine, upper case", Machine, file(machine, "0123456789ABCDEF0123456789ABCDEF"), "", "lower-case", nil},
		{"machine, one digit more", Machine, file(machine, "0123456789abcdef0123456789abcdef0"), "", "32 lower-case hex digits", nil},
		{"machine, zero", Machine, file(machine, strings.Repeat("0", 32)), "", "all zero", nil},
		{"boot", Boot, file(boot, "22419028-f280-4fb1-bb28-9ae14e57dcd2\n"), "22419028-f280-4fb1-bb28-9ae14e57dcd2", "", nil},
		{"boot, missing", Boot, fstest.MapFS{}, "", "is /proc mounted?", fs.ErrNotExist},
		{"boot, garbage", Boot, file(boot, "22419028\n"), "", "not a UUID", nil},
		{"generation", Generation, file(vm, blob), "0102030405060708090a0b0c0d0e0f10", "", nil},
		{"generation, cut off", Generation, file(vm, blob[:55]), "", "has 55 bytes", nil},
		{"generation, none", Generation, fstest.MapFS{}, "", "shows no VM generation id", ErrNotShown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.of(tc.root)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q in it", err, tc.err)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
		})
	}
}

func TestThisHost(t *testing.T) {
	a, err := Boot(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := Boot(os.DirFS("/")); err != nil || a != b {
		t.Errorf("two boot ids of one boot: %s and %s, %v", a, b, err)
	}
	if _, err := ReadClock(); err != nil {
		t.Error(err)
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state int
		tx    unix.Timex
		want  Clock
	}{
		{"kept", 0, unix.Timex{Status: unix.STA_PLL, Maxerror: 1500}, Clock{Synchronised: true, MaxError: 1500 * time.Microsecond}},
		{"never set", timeError, unix.Timex{Status: unix.STA_UNSYNC, Maxerror: 16_000_000}, Clock{MaxError: 16 * time.Second}},
		{"error without the flag", timeError, unix.Timex{}, Clock{}},
		{"leap second ahead", 1, unix.Timex{}, Clock{Synchronised: true}},
	} {
		if got := clockOf(tc.state, tc.tx); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
