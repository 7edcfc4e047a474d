package rtnl

import (
	"encoding/binary"
	"time"
)

// userHZ is the unit of clock_t in messages to programs, on every architecture of Linux that has Go.
const userHZ = 100

// expiry reads how long a route still lives from struct rta_cacheinfo (linux/rtnetlink.h): its third field, rta_expires, in
// clock ticks. 0 stands for a route that stays; one that is past its time and not yet collected has a negative value.
func expiry(v []byte) time.Duration {
	const at = 8
	if len(v) < at+4 {
		return 0
	}
	return time.Duration(int32(binary.NativeEndian.Uint32(v[at:]))) * time.Second / userHZ
}
