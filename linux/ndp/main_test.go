package ndp_test

import (
	"os"
	"testing"

	"hexapod.dev/linux/netns/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.SideBySide(4)
	os.Exit(m.Run())
}
