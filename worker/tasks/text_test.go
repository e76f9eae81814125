package tasks_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/tasks"
)

func TestAPriorityIsItsNameInText(t *testing.T) {
	for name, p := range map[string]tasks.Priority{"high": tasks.High, "normal": tasks.Normal, "low": tasks.Low} {
		text, err := json.Marshal(p)
		require.NoError(t, err)
		require.Equal(t, `"`+name+`"`, string(text))
		var back tasks.Priority
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, p, back)
		require.Equal(t, name, p.String())
	}
	p := tasks.High
	require.NoError(t, p.UnmarshalText(nil))
	require.Equal(t, tasks.Normal, p)
	require.ErrorContains(t, p.UnmarshalText([]byte("urgent")), `"urgent": use high, normal or low`)
	_, err := tasks.Priority(7).MarshalText()
	require.ErrorIs(t, err, tasks.ErrInvalid)
}

func TestAScheduleIsItsText(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for text, s := range map[string]tasks.Schedule{
		"every 10m0s": tasks.Every(10 * time.Minute), "0 6 * * * Europe/Berlin": tasks.Cron("0 6 * * *", berlin), "@daily UTC": tasks.Cron("@daily", nil),
	} {
		encoded, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, `"`+text+`"`, string(encoded))
		var r tasks.Registry
		var back tasks.Schedule
		require.NoError(t, json.Unmarshal(encoded, &back))
		r.RegisterPeriodic(tasks.Periodic{Task: "n", Schedule: back})
		require.NoError(t, r.Err())
	}
	for _, text := range []string{"", "now", "every day", "every 1ms", "* * UTC", "@daily Europe/Atlantis"} {
		var s tasks.Schedule
		require.NoError(t, s.UnmarshalText([]byte(text)), "it can be shown")
		require.Equal(t, text, s.String())
		var r tasks.Registry
		r.RegisterPeriodic(tasks.Periodic{Task: "n", Schedule: s})
		require.ErrorContains(t, r.Err(), "schedule", text)
	}
}

func TestAQueueHasMillisecondsInJSON(t *testing.T) {
	q := tasks.Queue{Name: "mail", Paused: true, Pending: 3, Oldest: 90 * time.Second, Wait: 1500 * time.Microsecond, Run: time.Microsecond}
	text, err := json.Marshal([]tasks.Queue{q})
	require.NoError(t, err)
	require.Contains(t, string(text), `"oldestMs":90000,"waitMs":1.5,"runMs":0.001`)
	var back []tasks.Queue
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, []tasks.Queue{q}, back)
}
