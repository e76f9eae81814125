package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
