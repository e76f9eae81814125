package tasks

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// What Redis keeps of a task can be shown, whatever it is.
func FuzzDescribe(f *testing.F) {
	f.Add("t|a|mywpiww0|{\"d\":1}\n1", "1|2", `{"reason":"failed","error":"x"}`, "1800000000000|failed|{\"attempt\":1}\n", "1800000000000")
	f.Add("t", "-1|", `[`, "x|y|\n|||\n1|dead|{\"incarnation\":\"w\"}", "1e300")
	f.Fuzz(func(t *testing.T, text, tries, reason, history, score string) {
		for _, state := range States() {
			task := describe("c1", state, text, tries, reason)
			require.Equal(t, "c1", task.ID)
			require.Equal(t, state, task.State)
			require.Equal(t, reason == "", task.Reason == nil)
			require.False(t, strings.HasSuffix(task.Queue, queue.HighMark) && task.Priority == Normal, "%q", text)
			task.stamp(score)
			if r, err := queue.ParseRecord(text); err == nil && json.Valid(r.Payload) && sane(r.Enqueued, task.Deadline, task.Due, task.Ended, task.Kept) {
				_, err = json.Marshal(task)
				require.NoError(t, err)
			}
		}
		events := parseHistory(history)
		require.LessOrEqual(t, len(events), strings.Count(history, "\n")+1)
		for _, e := range events {
			require.NotContains(t, e.What, "|")
		}
		require.NotPanics(t, func() { queue.ParseSettings(text); (&Queue{}).parseSpeed(history, time.UnixMilli(0)) })
	})
}

// Ticks are in order, and the last one is the last.
func FuzzSchedule(f *testing.F) {
	f.Add("*/5 * * * *", int64(1000), int64(1_800_000_000_000), int64(90_000))
	f.Add("0 2 29 2 *", int64(86_400_000), int64(1_774_746_000_000), int64(40_000_000_000))
	f.Add("@every 1s", int64(-1), int64(0), int64(1))
	f.Add("TZ=x * * * * *", int64(1<<40), int64(-5), int64(0))
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, expression string, every, from, span int64) {
		after := time.UnixMilli(from % (1 << 42))
		now := after.Add(time.Duration(span%(1<<36)) * time.Millisecond)
		for _, s := range []Schedule{Cron(expression, berlin), Cron(expression, nil), Every(time.Duration(every%(1<<40)) * time.Millisecond)} {
			if s.err != nil {
				continue
			}
			next := s.next(after)
			require.True(t, next.IsZero() || next.After(after) || after.Before(time.UnixMilli(0)), "%s after %s: %s", s, after, next)
			last := s.Last(after, now)
			if next.IsZero() || next.After(now) {
				require.True(t, last.IsZero(), "%s from %s to %s: %s", s, after, now, last)
				continue
			}
			require.False(t, last.Before(next) || last.After(now), "%s from %s to %s: %s", s, after, now, last)
			following := s.next(last)
			require.True(t, following.IsZero() || following.After(now), "%s: %s is not the last by %s", s, last, now)
		}
	})
}

// sane reports whether JSON has a form for these times.
func sane(times ...time.Time) bool {
	for _, at := range times {
		if at.Year() < 0 || at.Year() > 9999 {
			return false
		}
	}
	return true
}
