package journal_test

import (
	"testing"
)

// A new segment has its name, but the folder could not be made durable. From its name on, the one before counts only as far as the new
// one says: whatever is answered afterwards has to lie behind that.
func TestNothingGoesToTheSegmentBeforeOneWithAName(t *testing.T) {
	disk := newDisk(5)
	n := openNotebook(t, disk)
	n.mustWrite(t, 7, "one")
	disk.FailDirSyncs(1)
	if err := n.write(8, "two"); err == nil {
		t.Fatal("the folder was not synced and nobody minds")
	}
	n.mustWrite(t, 7, "three") // the clock went back over midnight
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "after a restart", []string{"one", "three"}, openNotebook(t, disk).lines)
}
