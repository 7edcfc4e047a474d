package netnstest

import (
	"flag"
	"strconv"
)

// SideBySide lets n tests that call t.Parallel run at a time, unless -parallel says how many. It is called in TestMain where tests own the
// namespaces they work in and wait more than they compute: the number of CPUs, which testing takes, is no measure there.
func SideBySide(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // a flag of testing, and a number
	}
}
