package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// HangTCX makes p the first program on the way into a network interface, by an attachment that is pinned at path, and reports whether
// it was not there. One that is there goes on with p from one packet to the next. It has to run in the namespace of the interface. Kernels before 6.6 have
// no tcx: ebpf.ErrNotSupported.
func HangTCX(path string, p *ebpf.Program, index int) (changed bool, err error) {
	if there, err := hangs(path, p, index); err != nil || there {
		return false, err
	}
	have, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if err != nil {
		return false, err
	}
	defer have.Close()
	if err := have.Pin(path); err != nil {
		return true, fmt.Errorf("pin it: %w", err)
	}
	return true, nil
}

// hangs tells whether the attachment that is pinned at path is that of the interface, and makes it run p.
func hangs(path string, p *ebpf.Program, index int) (there bool, err error) {
	have, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer have.Close()
	info, err := have.Info()
	if err != nil {
		return false, err
	}
	if tcx := info.TCX(); tcx == nil || int(tcx.Ifindex) != index { // its interface is gone, and the index was given again
		return false, os.Remove(path)
	}
	mine, err := p.Info()
	if err != nil {
		return true, err
	}
	if id, _ := mine.ID(); info.Program != id {
		return true, have.Update(p)
	}
	return true, nil
}

// TakeOffTCX takes the attachment that is pinned at path off, and reports whether there was one: without it the program would go on for a
// moment.
func TakeOffTCX(path string) (took bool, err error) {
	have, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(have.Detach(), os.Remove(path), have.Close())
}
