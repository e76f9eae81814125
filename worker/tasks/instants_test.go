package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

const tiny = 500 * time.Microsecond

func TestWhatIsSetIsNotTakenForUnsetOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tasks.Registry
		lasted := make(chan time.Duration, 1)
		tasks.Handle(&r, tasks.Definition{Name: "timeout", Timeout: time.Hour}, func(ctx context.Context, _ any) error {
			began := time.Now()
			<-ctx.Done()
			lasted <- time.Since(began)
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "forever", Timeout: time.Second}, func(ctx context.Context, _ any) error {
			left, has := ctx.Deadline()
			require.True(t, has)
			lasted <- time.Until(left)
			return nil
		})
		tries := make(chan time.Time, 2)
		tasks.Handle(&r, tasks.Definition{Name: "fails", MaxAttempts: 2, Backoff: time.Hour, MaxBackoff: time.Hour}, func(context.Context, any) error {
			tries <- time.Now()
			return errors.New("no")
		})
		tasks.Handle(&r, tasks.Definition{Name: "saves"}, func(ctx context.Context, _ any) error {
			tasks.Tx(ctx).Save("short", 1, tiny)
			return nil
		})
		tasks.Handle(&r, tasks.Definition{Name: "keeps", Retention: time.Hour}, func(context.Context, any) error { return nil })
		c := newCluster(t, redistest.Embedded(t).Config(), &r)
		c.startMover()
		c.start(&r, 1)
		c.enqueue("timeout", tasks.Options{Timeout: tiny})
		require.Equal(t, time.Millisecond, <-lasted)
		c.enqueue("forever", tasks.Options{Timeout: math.MaxInt64})
		require.Greater(t, <-lasted, 200*365*24*time.Hour)
		c.enqueue("fails", tasks.Options{Backoff: tiny, MaxBackoff: tiny})
		first := <-tries
		require.WithinDuration(t, first, <-tries, 10*time.Millisecond)
		c.enqueue("fails", tasks.Options{Backoff: math.MaxInt64})
		<-tries
		synctest.Wait()
		require.Empty(t, tries)
		c.enqueue("saves", tasks.Options{})
		time.Sleep(time.Second)
		_, err := cache.Get[int](t.Context(), c.cache, "short")
		require.ErrorIs(t, err, cache.ErrNotFound)
		id := c.enqueue("keeps", tasks.Options{Retention: tiny, In: tiny})
		time.Sleep(10 * time.Second)
		_, err = c.inspector.Get(t.Context(), id)
		require.ErrorIs(t, err, tasks.ErrNotFound, "not for an hour")

		for _, past := range []time.Time{time.UnixMilli(0), time.UnixMilli(-1), time.Unix(math.MinInt64/2, 0), time.Time{}.Add(1)} {
			id := c.enqueue("keeps", tasks.Options{Deadline: past})
			synctest.Wait()
			require.Equal(t, tasks.Dead, c.get(id).State, past)
			id = c.enqueue("keeps", tasks.Options{At: past})
			synctest.Wait()
			require.Equal(t, tasks.Done, c.get(id).State, past)
		}
	})
}

func TestTimesAreBoundedWhereTheyComeIn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		latest := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		id := c.enqueue("n", tasks.Options{At: latest, Deadline: latest})
		for _, late := range []time.Time{
			latest.Add(time.Second - 1), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.UnixMilli(math.MaxInt64), time.Unix(math.MaxInt64/2, 0),
			time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200)),
		} {
			_, err := c.tasks.EnqueueWith(t.Context(), "n", 1, tasks.Options{At: late})
			require.ErrorIs(t, err, tasks.ErrInvalid, late)
			_, err = c.tasks.EnqueueWith(t.Context(), "n", 1, tasks.Options{Deadline: late})
			require.ErrorIs(t, err, tasks.ErrInvalid, late)
			require.ErrorIs(t, c.inspector.Reschedule(t.Context(), id, late), tasks.ErrInvalid, late)
		}
		task := c.get(id)
		require.True(t, task.Due.Equal(latest) && task.Deadline.Equal(latest))
		require.NoError(t, c.inspector.RescheduleIn(t.Context(), id, math.MaxInt64))
		e, err := c.inspector.Explain(t.Context(), id)
		require.NoError(t, err)
		require.Contains(t, e.Why[0], "it is due at")
		require.NotContains(t, e.Why[0], "in 2562047h")
	})
}

func TestARecordThatCannotBeShownHidesNoOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var r tasks.Registry
		c := newCluster(t, cfg, &r)
		sound := c.enqueue("n", tasks.Options{In: time.Hour})
		store := func(id, record string, score float64) {
			require.NoError(t, c.redis.HSet(t.Context(), c.keys.Tasks(), id, record).Err())
			require.NoError(t, c.redis.ZAdd(t.Context(), c.keys.Delayed("default"), redis.Z{Score: score, Member: id}).Err())
		}
		store("late", "n|default|zzzzzzzzzz|{\"d\":9223372036854775807,\"W\":9223372036854775807}\n1", 1e18)
		store("early", "n|default|-zzzzzzzzz|{\"d\":-9223372036854775807}\n1", 1e17)
		store("payload", "n|default|1|\n{", 1e16)
		store("options", "n|default|1|{\n1", 1e15)
		store("text", "n", 1e14)
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Results(), "late", "{").Err())
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.History(), "late", "9223372036854775807|failed|{}\n").Err())
		shown := 0
		for task, err := range c.inspector.List(t.Context(), tasks.Filter{}) {
			require.NoError(t, err)
			shown++
			_, err = json.Marshal(task)
			require.NoError(t, err, task.ID)
			whole, err := c.inspector.Get(t.Context(), task.ID)
			require.NoError(t, err)
			_, err = json.Marshal(whole)
			require.NoError(t, err, task.ID)
		}
		require.Equal(t, 6, shown)
		require.Equal(t, tasks.Delayed, c.get(sound).State)

		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Definitions(), "p", `{"task":"n","schedule":"every 1h0m0s"}`, "q", `{"task":"n","schedule":1}`).Err())
		require.NoError(t, c.redis.HSet(t.Context(), c.keys.Periodic(), "p", "9223372036854775807|", "q", "253402300799000|").Err())
		all, err := c.inspector.Periodic(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		_, err = json.Marshal(all)
		require.NoError(t, err)
	})
}
