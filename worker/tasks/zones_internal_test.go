package tasks

import (
	"archive/zip"
	"flag"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var allZones = flag.Bool("zones", false, "check cron schedules in all time zones over 50 years, not in a sample")

// civil is a cron expression, and which days, hours and minutes it names.
type civil struct {
	expression     string
	day            func(day time.Time) bool
	hours, minutes []int
}

var (
	anyDay    = func(time.Time) bool { return true }
	schedules = []civil{
		{"0 12 * * 5", func(d time.Time) bool { return d.Weekday() == time.Friday }, []int{12}, []int{0}},
		{"0 0 * * *", anyDay, []int{0}, []int{0}},
		{"30 0,2,3,23 * * *", anyDay, []int{0, 2, 3, 23}, []int{30}},
		{"*/20 1,2 * * 0", func(d time.Time) bool { return d.Weekday() == time.Sunday }, []int{1, 2}, []int{0, 20, 40}},
		{"0 0 1,31 * *", func(d time.Time) bool { return d.Day() == 1 || d.Day() == 31 }, []int{0}, []int{0}},
		{"15 12 29 2 *", func(d time.Time) bool { return d.Month() == time.February && d.Day() == 29 }, []int{12}, []int{15}},
		{"0 3 13 * 5", func(d time.Time) bool { return d.Weekday() == time.Friday || d.Day() == 13 }, []int{3}, []int{0}},
	}
)

// zoneDay is a day, and all offsets from UTC that the clock of a zone has about then.
type zoneDay struct {
	time.Time

	offsets []int
}

func daysOf(zone *time.Location, from, to time.Time) (days []zoneDay) {
	for day := from.AddDate(0, 0, -2); !day.After(to.AddDate(0, 0, 2)); day = day.AddDate(0, 0, 1) {
		d := zoneDay{Time: day}
		for hours := -26; hours <= 50; hours += 2 {
			_, offset := day.Add(time.Duration(hours) * time.Hour).In(zone).Zone()
			if !slices.Contains(d.offsets, offset) {
				d.offsets = append(d.offsets, offset)
			}
		}
		days = append(days, d)
	}
	return days
}

// ticks returns the times after from, to included, at which the clock of the zone
// shows a time of the expression. It goes through all days, and shares no code with Cron.
func (c civil) ticks(zone *time.Location, days []zoneDay, from, to time.Time) (out []time.Time) {
	for _, day := range days {
		if !c.day(day.Time) {
			continue
		}
		for _, hour := range c.hours {
			for _, minute := range c.minutes {
				shown := day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
				for _, offset := range day.offsets {
					at := shown.Add(-time.Duration(offset) * time.Second)
					_, is := at.In(zone).Zone()
					if is == offset && at.After(from) && !at.After(to) {
						out = append(out, at)
					}
				}
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

func checkZone(t *testing.T, zone *time.Location, years int) {
	t.Helper()
	from := time.Date(2030-years/2, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(years, 0, 0)
	days := daysOf(zone, from, to)
	for _, c := range schedules {
		s := Cron(c.expression, zone)
		require.NoError(t, s.err)
		at := from
		for _, want := range c.ticks(zone, days, from, to) {
			next := s.Next(at)
			if next.Equal(want) {
				at = next
				continue
			}
			require.Failf(t, "another tick", "%s in %s after %s: %s, not %s", c.expression, zone, at.In(zone), next, want.In(zone))
		}
		require.True(t, s.Next(at).After(to), "%s in %s after %s", c.expression, zone, at.In(zone))
	}
}

// zones returns the names of all time zones that Go knows, one of those that are alike.
func zones(t *testing.T) (names []string) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	r, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	require.NoError(t, err)
	defer r.Close()
	known := map[uint32]bool{}
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") && !known[f.CRC32] {
			known[f.CRC32] = true
			names = append(names, f.Name)
		}
	}
	return names
}

func TestCronLeavesNoTickOutInAnyZone(t *testing.T) {
	t.Parallel()
	names, years := zones(t), 50
	if !*allZones {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names, years = names[:8], 6
		names = append(names, "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Casablanca", "America/Havana",
			"America/Santiago", "America/Nuuk", "Antarctica/Troll", "Europe/Berlin", "UTC")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			checkZone(t, zone, years)
		})
	}
}

// The zones follow rules after 2037, and 2040 is a leap year: its last day once had no end.
func TestCronGoesOnAfterALeapYear(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Sydney", "Pacific/Norfolk", "UTC"} {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		for expression, want := range map[string][]time.Time{
			"0 12 * * *": {
				time.Date(2040, 12, 30, 12, 0, 0, 0, zone), time.Date(2040, 12, 31, 12, 0, 0, 0, zone), time.Date(2041, 1, 1, 12, 0, 0, 0, zone),
			},
			"30 0 29 2 *": {time.Date(2044, 2, 29, 0, 30, 0, 0, zone)},
		} {
			at := time.Date(2040, 12, 30, 0, 0, 0, 0, zone)
			for _, next := range want {
				at = Cron(expression, zone).Next(at)
				require.True(t, at.Equal(next), "%s in %s: %s", expression, name, at)
			}
		}
	}
}

func TestCronWhereTheClockSkipsMidnight(t *testing.T) {
	for _, c := range []struct{ zone, expression, after, want string }{
		{"Africa/Cairo", "0 12 * * 5", "2027-04-23T12:00:00", "2027-04-30T12:00:00"},
		{"Asia/Beirut", "0 12 * * *", "2027-03-27T12:00:00", "2027-03-28T12:00:00"},
		{"Australia/Lord_Howe", "0 12 * * *", "2027-10-02T12:00:00", "2027-10-03T12:00:00"},
		{"America/Havana", "0 0 * * *", "2027-03-13T00:00:00", "2027-03-15T00:00:00"}, // midnight of the 14th is skipped
		{"Pacific/Apia", "0 12 * * *", "2011-12-29T12:00:00", "2011-12-31T12:00:00"},  // a whole day is
		{"UTC", "0 0 29 2 *", "2096-02-29T00:00:00", "2104-02-29T00:00:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		require.NoError(t, err)
		at := func(text string) time.Time {
			parsed, err := time.ParseInLocation("2006-01-02T15:04:05", text, zone)
			require.NoError(t, err)
			return parsed
		}
		next := Cron(c.expression, zone).Next(at(c.after))
		require.True(t, next.Equal(at(c.want)), "%s in %s: %s, not %s", c.expression, c.zone, next, c.want)
	}
}
