package cni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"hexapod.dev/edge/cni/wire"
)

// listen opens the socket for root alone. It is bound under another name and renamed, so that a stale socket is replaced in one step and
// nobody can connect before the permissions are right. A socket that somebody answers on is left alone.
func listen(ctx context.Context, path string) (*net.UnixListener, error) {
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s is in use: another agent runs with this run folder", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s is there and is no socket; remove it", path)
	}
	draft := filepath.Join(filepath.Dir(path), fmt.Sprintf(".cni.%d", os.Getpid()))
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // the name it was bound to is gone by then
	if err := errors.Join(os.Chmod(draft, 0o600), os.Rename(draft, path)); err != nil {
		listener.Close()
		os.Remove(draft)
		return nil, err
	}
	return listener, nil
}

// allowed refuses callers other than root and the server's own user (unix(7), SO_PEERCRED).
func allowed(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if peerErr != nil {
		return fmt.Errorf("find out who is calling: %w", peerErr)
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return Errorf(wire.CodeForbidden, "process %d of user %d asks for a change of the network; only root may", peer.Pid, peer.Uid)
	}
	return nil
}
