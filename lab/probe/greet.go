package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Greet says name, in one line, to whoever connects to l, and hangs up, until ctx ends.
func Greet(ctx context.Context, l net.Listener, name string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var greeting sync.WaitGroup
	defer greeting.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("greet as %s: %w", name, err)
		}
		greeting.Go(func() {
			_, _ = c.Write([]byte(name + "\n")) // a client that went away needs no greeting
			_ = c.Close()
		})
	}
}
