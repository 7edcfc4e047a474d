package sysctl

import (
	"os"
	"path/filepath"
	"testing"
)

// What others reserved before and since stays, and what was reserved here goes.
func TestReservationLeavesOthers(t *testing.T) {
	table := settings(t, map[Key]string{reservedPorts: "8080,40000-40010", ephemeralPorts: "32768\t60999"})
	r := Reservation(filepath.Join(t.TempDir(), "ports"))
	for _, step := range []struct {
		others string // somebody else writes this before
		want   *Ports
		have   string
		left   int
	}{
		{"", PortRange(36864, 65535), "8080,36864-65535", 4096},
		{"", PortRange(36864, 65535), "8080,36864-65535", 4096},
		{"8080,9000,36864-65535", PortRange(61440, 65535), "8080,9000,40000-40010,61440-65535", 28221},
		{"", PortRange(32768, 65535), "8080,9000,40000-40010,61440-65535", 0}, // too few left: nothing is done
		{"", &Ports{}, "8080,9000,40000-40010", 28221},
		{"", &Ports{}, "8080,9000,40000-40010", 28221},
	} {
		if step.others != "" {
			if err := os.WriteFile(table.path(reservedPorts), []byte(step.others+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		left, err := r.Reserve(table, step.want, 1024)
		have, readErr := table.Read(reservedPorts)
		if err != nil || readErr != nil || have != step.have || left != step.left {
			t.Errorf("want %s: it is %q with %d left, want %q with %d (%v, %v)", step.want, have, left, step.have, step.left, err, readErr)
		}
	}
	if _, err := os.Stat(string(r)); err == nil {
		t.Error("a reservation of nothing is remembered")
	}
}

func TestParsePortsRefuses(t *testing.T) {
	for _, text := range []string{"65536", "a", "9-8", "1-", "-1", "1--2"} {
		if p, err := ParsePorts(text); err == nil {
			t.Errorf("%q is taken for %s", text, p)
		}
	}
}
