// Package plan is what a test machine does once its kernel is up, as said by who boots it to the first process inside.
package plan

import (
	"path"
	"strings"
	"time"
)

// File is where the first process finds its Guest, as JSON.
const File = "/plan.json"

// Guest is all that the first process needs.
type Guest struct {
	Modules []string // files, in the order to insert them
	Steps   []Step
}

// Step is one test program, or one command.
type Step struct {
	Name    string
	Package string   // whose tests are run; empty for a command
	Args    []string // of the test program, or the command
	Env     []string // beside the usual
	Limit   time.Duration
}

// Program is the name of the test program of a step.
func (s Step) Program() string { return path.Base(s.Package) + ".test" }

// Dir is the folder of the guest in which the tests of a package run.
func (s Step) Dir() string { return "/tests/" + s.Program() }

// Words are what a first process prints at the end, for who watches the console.
const (
	Passed = "guest: all passed"
	Failed = "guest: FAILED: "
)

// Steps are what every kernel has to do. An emulated processor is some thirty times slower than a real one.
var Steps = []Step{
	{Name: "every program loads", Package: "linux/datapath", Args: tests("TestVerifier"), Limit: 2 * time.Minute},
	{Name: "endpoints", Package: "linux/datapath", Args: tests("TestPathsOfEndpoints", "TestReconcileRepairs", "TestNewProcessGoesOn",
		"TestRemoveTakesEverythingOff", "TestAttacksFromAnEndpoint", "TestForgedInsideSources"), Limit: 6 * time.Minute},
	{Name: "services where sockets connect", Package: "linux/datapath/connect", Args: tests("TestConnect", "TestFamilies", "TestWhoIsLed", "TestPlaces", "TestPlaceOfAnother"), Limit: 4 * time.Minute},
	{Name: "reasons of the kernel's drops", Package: "linux/dropreason", Args: tests("TestReasonOfAClosedPort"), Limit: 2 * time.Minute},
	{Name: "the fast path of NAT64 loads", Package: "linux/nat64", Args: tests("TestVerifier"), Limit: 2 * time.Minute},
	{Name: "NAT64", Package: "linux/nat64", Args: tests("TestTwin", "TestTCPAndUDPReachIPv4", "TestRowsLeaveAsTheSamePackets", "TestDatagramsOfOneCallReachIPv4"), Env: []string{"HEXAPOD_TWIN_PACKETS=2000"}, Limit: 5 * time.Minute},
	{Name: "NAT64 where packets arrive", Package: "linux/nat64", Args: tests("TestWhatLinksBringSeesNoDevice"), Limit: 4 * time.Minute},
}

func tests(names ...string) []string {
	return []string{"-test.run=^(" + strings.Join(names, "|") + ")$", "-test.v"}
}
