package ipam

import (
	"fmt"
	"strings"
)

// Limits of the clock that hold unless the configuration says otherwise.
const (
	// RunAhead is how far the logical clock may be ahead of the host's.
	RunAhead Seconds = 2
	// MaxClockJump is how far the clock may be ahead of the last address given out.
	MaxClockJump = 400 * Day
)

// Start is everything that decides where the logical clock of a host begins. It is looked at again for each attempt, until
// one succeeds.
type Start struct {
	Now   Seconds // the host's clock
	Built Seconds // when this program was built; 0: not known

	Mark    Stamp // highest stamp of the journal; 0: no history
	Kernel  Stamp // highest stamp among the addresses found in the kernel; 0: none
	Witness Stamp // the mark as somebody outside this host last saw it; 0: none

	// Changed names what is not as it was when the mark was written: "machine id", "VM generation", "boot id". Then the mark is
	// a lower bound only: a restored disk may be older than the addresses already given out.
	Changed []string

	Synchronised bool // the kernel says its clock is (adjtimex without STA_UNSYNC)
	Trusted      bool // the configuration says `clock: trusted`
	Accepted     bool // the operator ran `hexapod ipam accept-clock`

	MaxJump Seconds // 0: MaxClockJump
}

// Begin returns the stamp above which the logical clock begins, or a *ClockError that says why this clock is not believed.
//
// A mark written in this very boot is exact: nothing above it was given out. In every other case something may have been given
// out up to RunAhead before now, so the clock begins behind that.
func (s Start) Begin() (Stamp, error) {
	mark, what := s.reference()
	if err := s.check(mark, what); err != nil {
		return 0, err
	}
	if s.Mark > 0 && len(s.Changed) == 0 {
		return mark, nil
	}
	return max(mark, StampAt(s.Now+RunAhead+1)-1), nil
}

// reference is the highest stamp known to be given out, and where it is known from.
func (s Start) reference() (Stamp, string) {
	mark, what := s.Mark, "the journal"
	if s.Witness > mark {
		mark, what = s.Witness, "the witness"
	}
	if s.Kernel > mark {
		mark, what = s.Kernel, "an address in the kernel"
	}
	return mark, what
}

func (s Start) check(mark Stamp, what string) error {
	refuse := func(why Why, reference Seconds, detail string) error {
		return &ClockError{Why: why, Now: s.Now, Reference: reference, Detail: detail}
	}
	if s.Now < 0 || s.Now < s.Built {
		return refuse(ClockPreBuild, max(s.Built, 0), fmt.Sprintf("built %s", max(s.Built, 0)))
	}
	if s.Now+RunAhead > maxBorn {
		return refuse(ClockRunOut, maxBorn, fmt.Sprintf("the last is %s", Seconds(maxBorn)))
	}
	if mark > 0 && s.Now+RunAhead < mark.Born() {
		return refuse(ClockBehind, mark.Born(), fmt.Sprintf("%s says %s", what, mark.Born()))
	}
	if s.Accepted {
		return nil
	}
	if mark > 0 && s.Now > mark.Born()+s.maxJump() {
		return refuse(ClockFarAhead, mark.Born(), fmt.Sprintf("%s says %s, at most %d days ahead are believed", what, mark.Born(), s.maxJump()/Day))
	}
	if s.Mark > 0 && len(s.Changed) > 0 && s.Witness == 0 && !s.Synchronised && !s.Trusted {
		return refuse(ClockUnproven, mark.Born(), "changed: "+strings.Join(s.Changed, ", "))
	}
	return nil
}

func (s Start) maxJump() Seconds {
	if s.MaxJump > 0 {
		return s.MaxJump
	}
	return MaxClockJump
}
