package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/datapath"
	"hexapod.dev/linux/nat64"
	model "hexapod.dev/model/datapath"
)

// translatorVerb is how this program is called as a translator.
const translatorVerb = "translator"

// flows is how many the fast path knows, as agents have it.
const flows = 32_768

// rooms is how many endpoints can begin flows there, as agents have it.
const rooms = 256

// translate is our translator, until it is killed: FOLDER, whether it has a fast path, and its CPU.
func translate(args []string) error {
	if len(args) != 3 {
		return errors.New("want: FOLDER true|false CPU")
	}
	cpu, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	files, c, err := open(args[0], args[1] == "true")
	if err != nil {
		return err
	}
	t := nat64.New(files, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := t.Configure(c); err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("ready")
	return t.Run(context.Background())
}

// open opens what a translator works with.
func open(folder string, withFast bool) (files nat64.Files, c nat64.Config, err error) {
	pool := netip.MustParseAddr("45.0.0.1")
	c = nat64.Config{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}, Pool: []netip.Addr{pool}, Gateway: "gw",
		Clients: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}, Blocks: 60, Bindings: 262_144, Self4: pool,
		Self6: netip.MustParseAddr("2001:db8:1::1"), MTU6: 1500,
	}
	tun, err := openTUN()
	if err != nil {
		return files, c, err
	}
	files.TUN = tun
	if files.Grants, err = os.OpenFile(filepath.Join(folder, "grants"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return files, c, err
	}
	if files.Table, err = os.OpenFile(filepath.Join(folder, "table"), os.O_RDWR|os.O_CREATE, 0o600); err != nil || !withFast {
		return files, c, err
	}
	f, err := nat64.OpenFast(nat64.FastOptions{Root: filepath.Join(folder, "none"), Run: folder, Flows: flows, Rooms: rooms})
	if err != nil {
		return files, c, err
	}
	c.Fast, c.Rooms = f.Buckets(), f.Rooms()
	if files.Fast, files.Rooms, err = f.Memory(); err != nil {
		return files, c, err
	}
	return files, c, errors.Join(judge(folder), f.Hang(device), f.Set(c, true, true))
}

// judge hangs the programs of a host on both links, as on every gateway: behind them packets come to the fast path.
func judge(folder string) error {
	t, err := datapath.Open(datapath.Options{Root: filepath.Join(folder, "none"), Run: folder})
	if err != nil {
		return err
	}
	_, err = t.Reconcile(context.Background(), model.Want{Uplinks: map[string]model.LinkFlags{"in0": model.Uplink, "out0": model.Uplink}})
	return errors.Join(err, t.Maps().SetFast(true))
}
