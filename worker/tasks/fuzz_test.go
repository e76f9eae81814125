package tasks

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// viewScript is what the scripts make of a record.
func viewScript() *link.Script {
	return link.NewScript(link.LuaPrelude, source("places"), source("moving"), `
local line, options = line_of(ARGV[1]), options_of(ARGV[1])
return {line or '', queue_of(line or ''), options.u or '', options.v and int(options.v) or '', table.concat(options.f or {}, ' '),
  due_of(options, 0) and int(due_of(options, 0)) or ''}`)
}

// Go and Lua read the same of a record, whatever it is, and Go writes what it reads.
func FuzzRecord(f *testing.F) {
	f.Add("t|a|mywpiww0|\n1", "k", int64(1000), int64(5000), "c1")
	f.Add("t|a^|mywpiww0|{\"u\":\"k\",\"f\":[\"c1\"]}\n{}", "", int64(0), int64(-1), "")
	f.Add("t|a^~|0|{\"W\":1e300}\n", "ключ <&>\u2028😀", int64(1), int64(1<<52), "a b")
	f.Add("t|a\n|", "x", int64(0), int64(0), "")
	c := redistest.Client(f, redistest.Embedded(f).Config())
	script := viewScript()
	view := func(t *testing.T, text string) []string {
		t.Helper()
		got, err := script.Run(t.Context(), c, []string{"{x}:tasks"}, text).StringSlice()
		require.NoError(t, err)
		return got
	}
	f.Fuzz(func(t *testing.T, text, unique string, uniqueFor, at int64, after string) {
		r, err := parseRecord(text)
		got := view(t, text)
		require.Equal(t, []string{r.line, r.queue()}, got[:2], "line and queue of %q", text)
		require.Equal(t, strings.SplitN(strings.SplitN(text, "\n", 2)[0], "|", 2)[0], r.name)
		if err == nil {
			again, err := parseRecord(r.head() + base36Of(r.enqueued) + r.tail())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		o := Options{
			Unique: unique, UniqueFor: time.Duration(uniqueFor), At: time.UnixMilli(at), After: strings.Fields(after), Retention: time.Second,
		}
		if o.validate() != nil || at <= 0 || at > 1<<52 {
			return
		}
		options := o.record(false)
		whole := record{name: "t", line: "q~", options: options, payload: json.RawMessage("1\n2")}
		text = whole.head() + "0" + whole.tail()
		back, err := parseRecord(text)
		require.NoError(t, err)
		whole.enqueued = time.UnixMilli(0)
		require.Equal(t, whole, back)
		lasting := ""
		if options.UniqueFor > 0 {
			lasting = decimal(options.UniqueFor)
		}
		require.Equal(t, []string{"q~", "q", unique, lasting, strings.Join(o.After, " "), decimal(options.At)}, view(t, text))
	})
}

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
			require.False(t, strings.HasSuffix(task.Queue, highMark) && task.Priority == Normal, "%q", text)
			task.stamp(score)
			if r, err := parseRecord(text); err == nil && json.Valid(r.payload) && sane(r.enqueued, task.Deadline, task.Due, task.Ended, task.Kept) {
				_, err = json.Marshal(task)
				require.NoError(t, err)
			}
		}
		events := parseHistory(history)
		require.LessOrEqual(t, len(events), strings.Count(history, "\n")+1)
		for _, e := range events {
			require.NotContains(t, e.What, "|")
		}
		require.NotPanics(t, func() { (&Queue{}).parseSettings(text); (&Queue{}).parseSpeed(history, time.UnixMilli(0)) })
	})
}

// An answer that no script gives is an error, not a panic.
func FuzzProtocolError(f *testing.F) {
	for _, word := range []string{"OK", "FENCED", "EXPIRED", "GAP", "WRONGTYPE", "LIVE", ""} {
		f.Add(word, "key", byte(0))
		f.Add(word, "key", byte(3))
	}
	f.Fuzz(func(t *testing.T, word, more string, shape byte) {
		reply := [][]any{{word}, {word, more}, {word, int64(1)}, {word, nil}, {word, []any{more}}, {}, nil, {int64(1), word}, {nil}}[shape%9]
		err := protocolError(reply)
		require.Equal(t, len(reply) > 0 && reply[0] == "OK", err == nil, "%v", reply)
		if len(reply) > 0 && reply[0] == "FENCED" {
			require.ErrorIs(t, err, ErrFenced)
		}
		if len(reply) > 0 && reply[0] == "GAP" {
			require.ErrorIs(t, err, ErrRolledBack)
		}
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
			last := s.last(after, now)
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

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func base36Of(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 36) }

// sane reports whether JSON has a form for these times.
func sane(times ...time.Time) bool {
	for _, at := range times {
		if at.Year() < 0 || at.Year() > 9999 {
			return false
		}
	}
	return true
}
