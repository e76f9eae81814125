package tasks

import (
	"time"

	"github.com/robfig/cron/v3"
)

// zonedCron returns the first time later than after at which the clock of a zone shows a
// time that the schedule names, or the zero time when there is none.
//
// The schedule is asked in UTC only, where no day is like another and none lacks an hour:
// in a zone whose clock skips midnight, or a part of an hour, it leaves ticks out. So
// each stretch of time with one offset from UTC is searched by itself.
func zonedCron(schedule cron.Schedule, zone *time.Location, after time.Time) time.Time {
	stretch, horizon := after.In(zone), after.AddDate(cronYears, 0, 0)
	for stretch.Before(horizon) {
		_, seconds := stretch.Zone()
		_, end := stretch.ZoneBounds()
		if !end.IsZero() && !end.After(stretch) {
			// Go takes the last day of a leap year for the next year where a zone follows a rule,
			// as all with summer time do after 2037, and has it end when it begins.
			end = stretch.Add(time.Hour)
		}
		offset := time.Duration(seconds) * time.Second
		shown := nextShown(schedule, after.Add(offset).UTC())
		if shown.IsZero() {
			break
		}
		if tick := shown.Add(-offset).In(zone); end.IsZero() || tick.Before(end) {
			return tick
		}
		stretch, after = end, end.Add(-1)
	}
	return time.Time{}
}

// cronYears is how far a tick is looked for: the 29th of February is missing for 8 years
// around 2100.
const cronYears = 12

// nextShown returns the schedule's first time later than after, a time in UTC. The library
// gives up after five years.
func nextShown(schedule cron.Schedule, after time.Time) time.Time {
	for years := 0; years < cronYears; years += 4 {
		if t := schedule.Next(after.AddDate(years, 0, 0)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
