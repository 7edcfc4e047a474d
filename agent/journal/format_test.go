package journal_test

import (
	"encoding/hex"
	"testing"

	"hexapod.dev/agent/journal"
)

// A journal is kept for ever, so what is on disk may only be added to: this is a segment of version 1, byte by byte.
func TestFormatOnDisk(t *testing.T) {
	disk := newDisk(1)
	n := openNotebook(t, disk)
	n.mustWrite(t, 689, "one")
	s := segments(t, disk)[0]
	if want := "0000000001-day000689.hxj"; s.Name() != want {
		t.Errorf("name: got %s, want %s", s.Name(), want)
	}
	file, err := disk.Open(s.Name())
	if err != nil {
		t.Fatal(err)
	}
	size, err := file.Size()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, size)
	if _, err := file.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	const want = "68786a3148050000000100000000000000ae8c3bad01e20a000068786a314500000000020000000000000057f3e5d168786a31520400000003000000000000008403058a036f6e65"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	if reports, err := journal.Verify(disk, nil); err != nil || len(reports) != 1 || reports[0].Problem != nil {
		t.Errorf("%+v, %v", reports, err)
	}
}
