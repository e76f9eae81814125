package tasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Tasks are exported and imported as they were enqueued; what is there already is left alone.
func TestTasksAreExportedAndImported(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		from := newCluster(t, cfg, &r)
		first := from.enqueue("quick", tasks.Options{
			ID: "a", Group: "x/y", Priority: tasks.High, Unique: "k", Meta: map[string]string{"tenant": "acme"}, MaxAttempts: 3,
			Timeout: time.Minute, Backoff: time.Second, MaxBackoff: time.Hour, Retention: 24 * time.Hour,
			Deadline: time.Now().Add(time.Hour).Truncate(time.Millisecond),
		})
		from.enqueue("quick", tasks.Options{In: time.Hour})
		from.enqueue("quick", tasks.Options{After: []string{first}, In: time.Minute})
		_, err := from.tasks.EnqueueWith(t.Context(), "quick", map[string]string{"large": strings.Repeat("x", 100_000)}, tasks.Options{Queue: "other"})
		require.NoError(t, err)
		for range 700 { // more than a page
			from.enqueue("quick", tasks.Options{Queue: "many"})
		}
		all := from.list(tasks.Filter{})
		require.Len(t, all, 704)
		var file bytes.Buffer
		reports := 0
		done, err := from.inspector.Export(t.Context(), &file, tasks.Filter{}, tasks.TransferOptions{Report: func(tasks.Transfer) { reports++ }})
		require.NoError(t, err)
		require.Equal(t, tasks.Transfer{Tasks: 704, Bytes: int64(file.Len())}, done)
		require.Equal(t, 704, reports)

		cfg.Namespace = "elsewhere"
		to := newCluster(t, cfg, &r)
		half := file.String()[:file.Len()/2]
		_, err = to.tasks.Import(t.Context(), strings.NewReader(half), tasks.TransferOptions{})
		require.ErrorIs(t, err, tasks.ErrInvalid, "it breaks off in a line")
		require.Regexp(t, `^import tasks: line \d+: invalid: `, err.Error())
		before := to.counts()
		done, err = to.tasks.Import(t.Context(), &file, tasks.TransferOptions{})
		require.NoError(t, err)
		require.Equal(t, 704, done.Tasks+done.Existing)
		require.EqualValues(t, before.Pending+before.Delayed+before.Blocked, done.Existing)
		require.ElementsMatch(t, all, to.list(tasks.Filter{}))
		for _, id := range all[:5] {
			want, got := from.get(id), to.get(id)
			want.Enqueued, got.Enqueued, want.Position, got.Position = time.Time{}, time.Time{}, nil, nil
			if want.State == tasks.Delayed {
				want.Due, got.Due = want.Due.Truncate(time.Second), got.Due.Truncate(time.Second)
			}
			require.Equal(t, fmt.Sprintf("%+v", withoutOptions(want)), fmt.Sprintf("%+v", withoutOptions(got)))
		}
		var again bytes.Buffer
		_, err = to.inspector.Export(t.Context(), &again, tasks.Filter{}, tasks.TransferOptions{})
		require.NoError(t, err)
		require.Equal(t, done.Bytes, int64(again.Len()), "the same comes out")
	})
}

// withoutOptions returns a task without what only its place says.
func withoutOptions(t tasks.Task) []any {
	return []any{t.ID, t.Name, t.Queue, t.Group, t.Priority, t.State, t.Due, t.Deadline, t.Unique, t.After, t.Meta, string(t.Payload)}
}

func TestBadLinesOfAnImport(t *testing.T) {
	synctestless(t, func(c *cluster) {
		good := `{"id":"a","name":"quick","queue":"default","payload":{}}` + "\n"
		for text, want := range map[string]string{
			good + "{}\n":        "line 2: invalid: it has no id",
			"\n" + good + "junk": "line 3: invalid: invalid character 'j'",
			`{"id":"a","name":"quick","queue":"default"}`:                            "line 1: invalid: it has no payload",
			`{"id":"a","name":"quick","queue":"default","payload":1,"colour":"red"}`: `line 1: invalid: json: unknown field "colour"`,
			`{"id":"a b","name":"quick","queue":"default","payload":1}`:              `line 1: id "a b": use 1 to 200 letters`,
			good + strings.Repeat("x", tasks.MaxPayload+2<<20):                       "line 2: invalid: the line is too long",
		} {
			_, err := c.tasks.Import(t.Context(), strings.NewReader(text), tasks.TransferOptions{})
			require.ErrorContains(t, err, want)
		}
		_, err := c.inspector.Export(t.Context(), &bytes.Buffer{}, tasks.Filter{States: []tasks.State{tasks.Active}}, tasks.TransferOptions{})
		require.ErrorIs(t, err, tasks.ErrInvalid)
	})
}

// Tasks that follow one another do so after an import, however many they are and in whatever order Redis lists them.
func TestAnImportKeepsWhatFollowsWhat(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		const many = 700 // a hash of so many has no order
		var r tasks.Registry
		quick(&r)
		c := newCluster(t, cfg, &r)
		last := c.enqueue("quick", tasks.Options{In: time.Hour})
		for range many {
			last = c.enqueue("quick", tasks.Options{After: []string{last}})
		}
		for _, states := range [][]tasks.State{nil, {tasks.Blocked, tasks.Delayed}} {
			var w bytes.Buffer
			_, err := c.inspector.Export(t.Context(), &w, tasks.Filter{All: true, States: states}, tasks.TransferOptions{})
			require.NoError(t, err)
			_, err = c.inspector.DeleteAll(t.Context(), tasks.Filter{All: true})
			require.NoError(t, err)
			done, err := c.tasks.Import(t.Context(), &w, tasks.TransferOptions{})
			require.NoError(t, err)
			require.Equal(t, many+1, done.Tasks)
			require.EqualValues(t, many, c.counts().Blocked)
			require.EqualValues(t, 1, c.counts().Delayed)
		}
	})
}

// The task of a hook knows the death that it is for, and a tick its time, after an import.
func TestAnImportKeepsDeathsAndTicks(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var d deaths
		c, r := withHook(t, cfg, &d)
		c.startMover()
		var quiet tasks.Registry
		tasks.Handle(&quiet, tasks.Definition{Name: "n", MaxAttempts: 1, OnDead: "n.dead"}, func(context.Context, any) error { return errors.New("no luck") })
		n := c.start(&quiet, 1)
		c.enqueue("n", tasks.Options{})
		c.eventually("its hook waits", func() bool { return c.counts().Dead == 1 && c.counts().Active == 0 })
		n.stop()
		tick := time.UnixMilli(1_800_000_000_000)
		_, err := c.tasks.Import(t.Context(), strings.NewReader(`{"id":"daily:1800000000000","name":"any","queue":"other","payload":1,"tickMs":1800000000000}`), tasks.TransferOptions{})
		require.NoError(t, err)
		var w bytes.Buffer
		_, err = c.inspector.Export(t.Context(), &w, tasks.Filter{}, tasks.TransferOptions{})
		require.NoError(t, err)
		_, err = c.inspector.DeleteAll(t.Context(), tasks.Filter{All: true})
		require.NoError(t, err)
		_, err = c.tasks.Import(t.Context(), &w, tasks.TransferOptions{})
		require.NoError(t, err)
		task, err := c.inspector.Get(t.Context(), "daily:1800000000000")
		require.NoError(t, err)
		require.True(t, tick.Equal(task.Tick), "%s", task.Tick)
		c.start(r, 2)
		c.eventually("the hook runs", func() bool { return d.count() == 1 })
	})
}

// In pages comes out and goes in what an export and an import do at once.
func TestTasksAreExportedAndImportedInPages(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		from := newCluster(t, cfg, &r)
		last := from.enqueue("quick", tasks.Options{In: time.Hour})
		var many []tasks.Request
		for n := range 1300 { // of each place more than are read at a time
			o := tasks.Options{Meta: map[string]string{"n": strconv.Itoa(n)}}
			switch n % 3 {
			case 0:
				o.Group = "g" + strconv.Itoa(n%100)
			case 1:
				o.In = time.Hour
			}
			many = append(many, tasks.Request{Name: "quick", Payload: number{}, Options: o})
		}
		_, err := from.tasks.EnqueueMany(t.Context(), many)
		require.NoError(t, err)
		for range 10 {
			last = from.enqueue("quick", tasks.Options{After: []string{last}})
		}
		large, err := from.tasks.EnqueueWith(t.Context(), "quick", strings.Repeat("x", 20_000), tasks.Options{})
		require.NoError(t, err)
		var file bytes.Buffer
		_, err = from.inspector.Export(t.Context(), &file, tasks.Filter{}, tasks.TransferOptions{})
		require.NoError(t, err)

		cfg.Namespace = "elsewhere"
		to := newCluster(t, cfg, &r)
		pages, cursor := "", ""
		for n := 0; n == 0 || cursor != ""; n++ {
			f := tasks.Filter{}
			if n%2 == 1 {
				f.Limit = 7
			}
			page, err := from.inspector.ExportPage(t.Context(), f, cursor, 10_000)
			require.NoError(t, err)
			if f.Limit > 0 {
				require.LessOrEqual(t, len(page.Lines), f.Limit)
			}
			for _, id := range page.TooLarge {
				require.Equal(t, large.ID, id)
			}
			size := 0
			for _, line := range page.Lines {
				pages += string(line) + "\n"
				size += len(line) + 1
			}
			require.LessOrEqual(t, size, 10_000)
			verdicts, err := to.tasks.ImportLines(t.Context(), page.Lines)
			require.NoError(t, err)
			for _, v := range verdicts {
				require.Equal(t, tasks.Imported{ID: v.ID, Verdict: tasks.ImportStored}, v)
			}
			cursor = page.Next
		}
		var without strings.Builder
		for line := range strings.Lines(file.String()) {
			if !strings.Contains(line, large.ID) {
				without.WriteString(line)
			}
		}
		require.Equal(t, without.String(), pages)
		require.Equal(t, []int64{867, 434, 10}, []int64{to.counts().Pending, to.counts().Delayed, to.counts().Blocked})

		for _, cursor := range []string{"x", "pending", "pending:", "pending:-1", "dead:0", "active:1", ":1"} {
			_, err = from.inspector.ExportPage(t.Context(), tasks.Filter{}, cursor, 1000)
			require.ErrorIs(t, err, tasks.ErrInvalid, cursor)
		}
		_, err = from.inspector.ExportPage(t.Context(), tasks.Filter{States: []tasks.State{tasks.Active}}, "", 1000)
		require.ErrorIs(t, err, tasks.ErrInvalid)
	})
}

func TestEachLineOfAnImportHasAVerdict(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		quick(&r)
		c := newCluster(t, cfg, &r)
		_, err := c.inspector.LimitQueue(t.Context(), "full", &tasks.Limits{Tasks: 1})
		require.NoError(t, err)
		lines := []json.RawMessage{}
		for _, line := range []string{
			`{"id":"a","name":"quick","queue":"default","payload":{}}`, `{"id":"a","name":"quick","queue":"default","payload":{}}`,
			`[]`, `{"id":"b","name":"quick","queue":"default"}`, `{"id":"c","name":"quick","queue":"a b","payload":1}`, `null`, ``,
			`{"id":"d","name":"quick","queue":"full","payload":1}`, `{"id":"e","name":"quick","queue":"full","payload":1}`,
			`{"id":"f","name":"quick","queue":"default","payload":1,"frob":2}`, `{"id":"g","name":"quick","queue":"default","payload":1}`,
		} {
			lines = append(lines, json.RawMessage(line))
		}
		verdicts, err := c.tasks.ImportLines(t.Context(), lines)
		require.NoError(t, err)
		var said []string
		for _, v := range verdicts {
			require.Equal(t, v.Verdict == tasks.ImportRefused, v.Error != "")
			said = append(said, v.ID+" "+v.Verdict)
		}
		require.Equal(t, []string{
			"a stored", "a existing", " refused", "b refused", "c refused", " refused", " refused", "d stored", "e refused", " refused", "g stored",
		}, said)
		require.Contains(t, verdicts[8].Error, "queue full: ")
		none, err := c.tasks.ImportLines(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}
