package config

import "time"

// Instant is a time given on the command line: a point in time, or a distance from now.
type Instant struct {
	at   time.Time
	from time.Duration
}

// ExampleTime is a point in time as error messages show its format, RFC 3339.
const ExampleTime = "2027-01-31T08:00:00Z"

// ParseTime parses a point in time in RFC 3339. Its error names the flag.
func ParseTime(flag, text string) (time.Time, error) {
	at, err := parseRFC3339(text)
	if err != nil {
		return at, Usagef("--%s: %q is not a time such as %s or 2027-01-31T08:00:00+01:00", flag, text, ExampleTime)
	}
	return at, nil
}

// parseRFC3339 never returns the zero time, which stands for no time.
func parseRFC3339(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if at.IsZero() {
		at = at.Add(1)
	}
	return at, err
}

// ParseInstant parses a point in time, or a duration: before now if ago is true, after
// now otherwise. An empty text yields the zero Instant.
func ParseInstant(flag, text string, ago bool) (Instant, error) {
	if text == "" {
		return Instant{}, nil
	}
	direction := "from now"
	d, err := time.ParseDuration(text)
	given := err == nil && d > 0
	if ago {
		direction, d = "ago", -d
	}
	if given {
		return Instant{from: d}, nil
	}
	at, err := parseRFC3339(text)
	if err != nil {
		return Instant{}, Usagef("--%s: %q is neither a time such as %s nor how long %s, such as 90m", flag, text, ExampleTime, direction)
	}
	return Instant{at: at}, nil
}

// On returns the instant as a point in time, the zero time for the zero Instant. now is
// the time on Redis's clock.
func (i Instant) On(now time.Time) time.Time {
	if i.from != 0 {
		return now.Add(i.from)
	}
	return i.at
}
