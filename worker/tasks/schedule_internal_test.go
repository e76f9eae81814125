package tasks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCronFollowsTheZoneThroughDaylightSaving(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	ticks := func(expression string, from, to time.Time) (out []string) {
		s := Cron(expression, berlin)
		require.NoError(t, s.err)
		for at := s.next(from); !at.After(to); at = s.next(at) {
			out = append(out, at.UTC().Format("15:04"))
		}
		return out
	}
	spring := time.Date(2026, 3, 29, 0, 0, 0, 0, berlin) // 02:00 becomes 03:00
	autumn := time.Date(2026, 10, 25, 0, 0, 0, 0, berlin)
	day := 24 * time.Hour
	require.Empty(t, ticks("30 2 * * *", spring, spring.Add(22*time.Hour)), "02:30 does not exist")
	require.Equal(t, []string{"01:00"}, ticks("0 3 * * *", spring, spring.Add(22*time.Hour)))
	require.Equal(t, []string{"02:00"}, ticks("0 3 * * *", autumn, autumn.Add(day)))
	require.NotEmpty(t, ticks("30 2 * * *", autumn, autumn.Add(day)))
}

func TestTheLastMissedTickIsFoundFromCloseBy(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 34, 56, 0, time.UTC)
	years := now.AddDate(-5, 0, 0)
	for _, c := range []struct {
		s    Schedule
		want time.Time
	}{
		{Every(10 * time.Second), time.Date(2026, 7, 1, 12, 34, 50, 0, time.UTC)},
		{Cron("* * * * *", nil), time.Date(2026, 7, 1, 12, 34, 0, 0, time.UTC)},
		{Cron("0 6 * * *", nil), time.Date(2026, 7, 1, 6, 0, 0, 0, time.UTC)},
		{Cron("0 0 29 2 *", nil), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
	} {
		require.True(t, c.want.Equal(c.s.Last(years, now)), "%s: %s", c.s, c.s.Last(years, now))
		require.True(t, c.s.Last(now, now).IsZero(), "none is due twice")
	}
	require.True(t, Cron("0 0 31 2 *", nil).Last(years, now).IsZero(), "never")
}
