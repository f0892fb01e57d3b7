package winfile

import "time"

// Filetime counts 100 ns since 1601-01-01 UTC, [MS-DTYP] 2.3.3. 0 means not known.
type Filetime uint64

const (
	second    = 10_000_000         // ticks
	unixEpoch = 116444736000000000 // 1970-01-01 as Filetime
)

// FiletimeOf converts t, cutting it to 100 ns. Times before 1601 and the zero time give 0.
func FiletimeOf(t time.Time) Filetime {
	s := t.Unix() + unixEpoch/second
	if s < 0 || s >= (1<<63-1)/second {
		return 0
	}
	return Filetime(s*second + int64(t.Nanosecond())/100)
}

// Time converts f to UTC. It is exact for every value below 2^63.
func (f Filetime) Time() time.Time {
	ticks := int64(min(f, 1<<63-1))
	return time.Unix(ticks/second-unixEpoch/second, ticks%second*100).UTC()
}
