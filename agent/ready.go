package agent

import (
	"fmt"
	"net"
	"os"
)

// notifyReady tells the service manager that this process serves, as sd_notify(3) describes: one datagram to the socket named
// in NOTIFY_SOCKET. Without that variable nobody waits for it.
func notifyReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a leading @ is an abstract name here as there
	if err != nil {
		return fmt.Errorf("tell the service manager that the agent is ready: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager that the agent is ready: %w", err)
	}
	return nil
}
