package datapath

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"

	"hexapod.dev/linux/datapath/connect"
	"hexapod.dev/linux/datapath/pin"
	"hexapod.dev/linux/nft"
	"hexapod.dev/linux/rtnl"
)

// Remove takes everything of the datapath off a host and returns how many links had a program. No agent may run meanwhile.
func Remove(ctx context.Context, o Options) (links int, err error) {
	root := o.Root
	if root == "" {
		root = pin.DefaultRoot
	}
	conn, err := rtnl.Dial(o.NS)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	list, err := conn.Links()
	if err != nil {
		return 0, err
	}
	folder, err := pin.Find(root, o.Run)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, l := range list {
		took, err := takeAllOff(conn, l, folder)
		errs = append(errs, err)
		if took {
			links++
		}
	}
	if err := nft.Delete(ctx, o.NS, guardTable); err != nil && !errors.Is(err, nft.ErrMissing) {
		errs = append(errs, err)
	}
	if folder != nil {
		errs = append(errs, unpin(folder))
	}
	if err := errors.Join(errs...); err != nil {
		return links, fmt.Errorf("remove the datapath: %w", err)
	}
	return links, nil
}

// unpin lets the stubs and all maps of the datapath go; what others have pinned stays.
func unpin(folder *pin.Folder) error {
	shared, err := connect.Pinned()
	if err != nil {
		return err
	}
	var names []string
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadStub, loadJudge} {
		spec, err := load()
		if err != nil {
			return err
		}
		for name, m := range spec.Maps {
			if m.Pinning == ebpf.PinByName && !slices.Contains(shared, name) { // the hooks of sockets go on
				names = append(names, name)
			}
		}
	}
	return folder.Unpin(append(names, stubFromEndpoint, stubFromUplink, stubToEndpoint)...)
}

// takeAllOff takes our programs off one link.
func takeAllOff(conn *rtnl.Conn, l rtnl.Link, folder *pin.Folder) (took bool, err error) {
	if folder != nil {
		if there, err := pin.TakeOffTCX(filepath.Join(folder.Path(), fmt.Sprintf("%s%d", uplinkPrefix, l.Index))); err != nil || there {
			return there, err
		}
	}
	names := map[rtnl.Direction]string{rtnl.Ingress: stubFromUplink} // by clsact, before Linux 6.6
	if l.OfEndpoint() {
		names = map[rtnl.Direction]string{rtnl.Ingress: stubFromEndpoint, rtnl.Egress: stubToEndpoint}
	}
	var errs []error
	for d, name := range names {
		_, there, err := conn.Filter(l.Index, d, name)
		if err == nil && there {
			took, err = true, conn.Do(rtnl.DeleteFilter(l.Index, l.Name, d))
		}
		errs = append(errs, err)
	}
	return took, errors.Join(errs...)
}
