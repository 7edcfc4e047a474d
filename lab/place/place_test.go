package place

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The first thread of a process must keep its namespaces: everybody sees them as those of the process.
func TestOnThreadSparesTheFirstThread(t *testing.T) {
	for range 200 {
		var tid int
		if err := onThread(func() error { tid = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			t.Fatal("ran on the first thread")
		}
		runtime.Gosched()
	}
}
