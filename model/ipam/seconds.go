// Package ipam gives out addresses that say where, who and when, and are never given out twice.
//
// Everything here is a value or a pure function: the clock, the host's ids and what was found on disk and in the kernel
// come in as arguments, addresses and records go out. Package agent/allocation puts a journal behind it.
package ipam

import "fmt"

// Epoch is second 0 of born, 2025-01-01T00:00:00Z, in Unix seconds.
const Epoch = 1735689600

// Seconds is a point in time, or a span of it, in seconds. A point counts from Epoch.
type Seconds int64

const (
	Minute Seconds = 60
	Hour           = 60 * Minute
	Day            = 24 * Hour
)

// FromUnix turns Unix seconds into Seconds since Epoch.
func FromUnix(unix int64) Seconds { return Seconds(unix - Epoch) }

// Unix returns s in Unix seconds.
func (s Seconds) Unix() int64 { return int64(s) + Epoch }

// Day returns the number of the UTC day s lies in, counted from Epoch; days before it are negative.
func (s Seconds) Day() int64 {
	d := int64(s / Day)
	if s%Day < 0 {
		d--
	}
	return d
}

// String prints s as RFC 3339 in UTC, for example 2026-11-21T05:12:49Z.
func (s Seconds) String() string {
	days := s.Day()
	rest := int64(s) - days*int64(Day)
	year, month, day := civil(days + Epoch/int64(Day))
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, rest/3600, rest/60%60, rest%60)
}

// civil turns days since 1970-01-01 into a date of the proleptic Gregorian calendar. Years are counted from March, so that
// the leap day is the last of its year, in eras of 400 years (146,097 days).
func civil(days int64) (year, month, day int64) {
	days += 719468 // 1970-01-01 counted from 0000-03-01
	era := days / 146097
	if days < 0 {
		era = (days - 146096) / 146097
	}
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	m := (5*doy + 2) / 153
	day = doy - (153*m+2)/5 + 1
	month = m + 3
	if m >= 10 {
		month = m - 9
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// Stamp is a reading of the hybrid logical clock of a host: born<<16 | sequence. Stamps of one host prefix only grow.
type Stamp uint64

// maxBorn is the last second 31 bits can say: 2093-01-19T03:14:07Z.
const maxBorn = 1<<31 - 1

// StampAt returns the first stamp of second s; a second before Epoch has none and gives 0.
func StampAt(s Seconds) Stamp {
	if s < 0 {
		return 0
	}
	return Stamp(s) << 16
}

// Born is the second part of the stamp.
func (s Stamp) Born() Seconds { return Seconds(s >> 16) }

// Sequence is the place within the second.
func (s Stamp) Sequence() uint16 { return uint16(s) }

// MarshalText writes s as String does.
func (s Seconds) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Seconds) UnmarshalText(text []byte) error {
	var year, month, day, hour, minute, second int64
	if _, err := fmt.Sscanf(string(text), "%d-%d-%dT%d:%d:%dZ", &year, &month, &day, &hour, &minute, &second); err != nil {
		return fmt.Errorf("time %q: want it like 2026-11-21T05:12:49Z: %w", text, err)
	}
	days := daysOf(year, month, day) - Epoch/int64(Day)
	got := Seconds(((days*24+hour)*60+minute)*60 + second)
	if got.String() != string(text) {
		return fmt.Errorf("time %q: there is no such second; want it like 2026-11-21T05:12:49Z", text)
	}
	*s = got
	return nil
}

// daysOf is the inverse of civil.
func daysOf(year, month, day int64) int64 {
	m := month - 3
	if month <= 2 {
		year, m = year-1, month+9
	}
	era := year / 400
	if year < 0 {
		era = (year - 399) / 400
	}
	yoe := year - era*400
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + (153*m+2)/5 + day - 1 - 719468
}
