package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// program finds a daemon; those of routing are not in everybody's path.
func program(name string) string {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/lib/frr/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return name // whose start will fail by this name
}

// plan is a fabric with one host and its neighbour.
const plan = `apiVersion: hexapod.dev/v1alpha1
kind: AddressPlan
metadata: {name: bench}
spec:
  prefix: 2001:db8:a000::/37
  lab: true
  clusters:
    - {name: one, number: 1, racks: [{name: r1, number: 1}]}
---
apiVersion: hexapod.dev/v1alpha1
kind: Host
metadata: {name: h1}
spec: {cluster: one, rack: r1, number: 1, clock: trusted}
---
apiVersion: hexapod.dev/v1alpha1
kind: BGPPeer
metadata: {name: sender}
spec: {address: "` + far + `", asn: 65538, accept: ["3fff::/20"], maxPrefixes: 200000}
`

func startHexapod(ctx context.Context, b *bed, r *receiver) error {
	if err := os.Mkdir(r.path("config"), 0o755); err != nil {
		return err
	}
	if err := r.write("config/plan.yaml", plan); err != nil {
		return err
	}
	return b.daemon(ctx, r.ns, b.o.bin+"/hexapod", "agent", "--config", r.path("config"), "--host", "h1",
		"--run", r.path("run"), "--state", r.path("state"), "--log-level", "warn")
}

// startFRR starts zebra and bgpd, which take routes as Debian's package sets them up.
func startFRR(ctx context.Context, b *bed, r *receiver) error {
	if err := r.write("frr.conf", `router bgp 65539
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor `+far+` remote-as 65538
 address-family ipv6 unicast
  neighbor `+far+` activate
 exit-address-family
`); err != nil {
		return err
	}
	for _, name := range []string{"zebra", "bgpd"} {
		err := b.daemon(ctx, r.ns, program(name), "-f", r.path("frr.conf"), "-i", r.path(name+".pid"), "-z", r.path("zserv.api"),
			"--vty_socket", r.folder, "-P", "0", "--log", "stdout", "--log-level", "errors")
		if err == nil {
			err = there(ctx, r.path(name+".vty"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func startBIRD(ctx context.Context, b *bed, r *receiver) error {
	if err := r.write("bird.conf", `router id 192.0.2.1;
protocol device {}
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol bgp sender {
	local `+near+` as 65539;
	neighbor `+far+` external;
	connect retry time 1; error wait time 1, 2; connect delay time 1;
	ipv6 { import all; export none; };
}
`); err != nil {
		return err
	}
	return b.daemon(ctx, r.ns, program("bird"), "-f", "-c", r.path("bird.conf"), "-s", r.path("bird.ctl"), "-P", r.path("bird.pid"))
}

// there waits until a daemon made its socket.
func there(ctx context.Context, path string) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not there: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}
