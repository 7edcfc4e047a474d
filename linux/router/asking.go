package router

import "time"

// Times of asking (RFC 4861 10, RFC 7559 2).
const (
	maxDelay = time.Second      // MAX_RTR_SOLICITATION_DELAY: hosts that lost one router do not all ask at once
	interval = 4 * time.Second  // RTR_SOLICITATION_INTERVAL: least time between two on one link, and the first one waited
	longest  = 60 * time.Minute // MRT of RFC 7559: the distance doubles up to it
)

// asking is one uplink: whether its route is lost and when to ask. It knows no clock.
type asking struct {
	routes []Default
	had    bool // a route was seen
	gone   bool // and there is none now
	asked  int
	wait   time.Duration // until the next one, without its share of chance
	last   time.Time     // of the last solicitation
	next   time.Time
}

func (a *asking) lost() bool { return a.gone }

func (a *asking) link(name string) Link {
	return Link{Name: name, Routes: a.routes, Lost: a.gone, Asked: a.asked}
}

// step takes what is there now and tells whether to send a solicitation. chance is in [0, 1).
func (a *asking) step(now time.Time, present bool, chance float64) (send bool) {
	switch {
	case present:
		a.had, a.gone, a.asked, a.wait = true, false, 0, 0
		return false
	case !a.had: // nobody ever advertised here: the kernel asked when the link came up
		return false
	case !a.gone:
		a.gone = true
		a.next = now.Add(time.Duration(chance * float64(maxDelay))) // RFC 4861 6.3.7
		if earliest := a.last.Add(interval); !a.last.IsZero() && a.next.Before(earliest) {
			a.next = earliest // a route that comes and goes costs no more than this
		}
		return false
	case now.Before(a.next):
		return false
	}
	a.asked++
	a.last = now
	if a.wait == 0 {
		a.wait = interval
	} else {
		a.wait = min(2*a.wait, longest)
	}
	a.next = now.Add(a.wait + time.Duration((chance-0.5)/5*float64(a.wait))) // RFC 7559 2: a tenth more or less
	return true
}
