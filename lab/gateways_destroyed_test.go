package lab_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// Mark: one of three gateways, with agents and BGP, is destroyed 20 times under 1,000 TCP flows of endpoints that fill a quarter of their blocks: its
// namespaces are deleted, and with them its links. At least 90 of 100 of its flows go on in the median and 70 always, the others lose none, and each
// flow that begins a second later is answered.
func TestGatewayHostDestroyed(t *testing.T) {
	if os.Getenv("HEXAPOD_SOAK") == "" {
		t.Log("make soak runs this")
		return
	}
	const runs = 20
	var shares []int
	for i := range runs {
		t.Run(fmt.Sprint("run", i+1), func(t *testing.T) { shares = append(shares, gatewaysUp(t, false).destroyed()) })
	}
	if len(shares) < runs {
		t.Fatalf("%d of %d runs did not end", runs-len(shares), runs)
	}
	slices.Sort(shares)
	t.Logf("of 100 flows of the gateway go on %v", shares)
	if shares[0] < 70 || shares[runs/2] < 90 {
		t.Error("that is less than 90 in the median, or than 70 once")
	}
}
