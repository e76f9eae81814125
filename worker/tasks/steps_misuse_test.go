package tasks_test

import (
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

var errAgain = errors.New("again")

func TestStepsThatCannotBeFollowedFailTheRun(t *testing.T) {
	nothing := func(context.Context) (int, error) { return 0, nil }
	step := func(ctx context.Context, name string) error {
		_, err := tasks.Step(ctx, name, nothing)
		return err
	}
	for name, run := range map[string]struct {
		handler func(ctx context.Context, attempt int) error
		kind    error
		text    string
	}{
		"no name":   {func(ctx context.Context, _ int) error { return step(ctx, "") }, tasks.ErrStep, "use a name of 1 to 200 bytes"},
		"odd name":  {func(ctx context.Context, _ int) error { return step(ctx, "a\nb") }, tasks.ErrStep, "printable"},
		"long name": {func(ctx context.Context, _ int) error { return step(ctx, strings.Repeat("x", 201)) }, tasks.ErrStep, "1 to 200 bytes"},
		"twice": {func(ctx context.Context, _ int) error {
			if err := step(ctx, "a"); err != nil {
				return err
			}
			return step(ctx, "a")
		}, tasks.ErrStep, "a name of its own"},
		"nested": {func(ctx context.Context, _ int) error {
			_, err := tasks.Step(ctx, "a", func(ctx context.Context) (int, error) { return 0, step(ctx, "b") })
			return err
		}, tasks.ErrStep, "one after the other"},
		"another order": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errors.Join(step(ctx, "a"), errAgain)
			}
			return step(ctx, "b")
		}, tasks.ErrStep, `where the step "a" was`},
		"another kind": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errors.Join(step(ctx, "a"), errAgain)
			}
			return tasks.Sleep(ctx, "a", time.Second)
		}, tasks.ErrStep, "it was no sleep"},
		"another type": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errors.Join(step(ctx, "a"), errAgain)
			}
			_, err := tasks.Step(ctx, "a", func(context.Context) (string, error) { return "", nil })
			return err
		}, tasks.ErrStep, "does not fit any more"},
		"too large": {func(ctx context.Context, _ int) error {
			_, err := tasks.Step(ctx, "a", func(context.Context) (string, error) { return strings.Repeat("x", tasks.MaxStepResult), nil })
			return err
		}, tasks.ErrTooLarge, "store it elsewhere"},
		"a state too large": {func(ctx context.Context, _ int) error {
			return tasks.Checkpoint(ctx, strings.Repeat("x", tasks.MaxStepResult))
		}, tasks.ErrTooLarge, "store it elsewhere"},
		"too many": {func(ctx context.Context, _ int) error {
			for i := range tasks.MaxSteps {
				if err := step(ctx, fmt.Sprint(i)); err != nil {
					return fmt.Errorf("too early: %d", i)
				}
			}
			return step(ctx, "one more")
		}, tasks.ErrTooLarge, "at most 1000 steps"},
		"an effect that is refused": {func(ctx context.Context, _ int) error {
			tasks.Tx(ctx).Push("number", 1)
			return step(ctx, "a")
		}, tasks.ErrRefused, "transaction refused"},
		"a result in a step": {func(ctx context.Context, _ int) error {
			_, err := tasks.Step(ctx, "a", func(ctx context.Context) (int, error) {
				tasks.Tx(ctx).Result(1)
				return 0, nil
			})
			return err
		}, tasks.ErrStep, "after the step"},
		"a result that does not decode": {func(ctx context.Context, _ int) error {
			_, err := tasks.Step(ctx, "a", func(context.Context) (error, error) { return errAgain, nil })
			return err
		}, nil, "cannot unmarshal"},
		"a state that is not restored": {func(ctx context.Context, attempt int) error {
			if err := tasks.Checkpoint(ctx, attempt); err != nil {
				return err
			}
			return errAgain
		}, tasks.ErrStep, "call Restore before"},
		"restored twice": {func(ctx context.Context, _ int) error {
			_, err := tasks.Restore(ctx, new(int))
			if err == nil {
				_, err = tasks.Restore(ctx, new(int))
			}
			return err
		}, tasks.ErrStep, "once in a run"},
		"restored after a checkpoint": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errAgain
			}
			if err := tasks.Checkpoint(ctx, 1); err != nil {
				return err
			}
			_, err := tasks.Restore(ctx, new(int))
			return err
		}, tasks.ErrStep, "before Checkpoint"},
		"a step between Restore and its loop": {func(ctx context.Context, _ int) error {
			if _, err := tasks.Restore(ctx, new(int)); err != nil {
				return err
			}
			return errors.Join(step(ctx, "a"), tasks.Checkpoint(ctx, 1), errAgain)
		}, tasks.ErrStep, "right before the loop"},
		"a step between two checkpoints": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errAgain
			}
			return errors.Join(tasks.Checkpoint(ctx, 1), step(ctx, "a"), tasks.Checkpoint(ctx, 2), errAgain)
		}, tasks.ErrStep, "right before the loop"},
		"restored elsewhere than it was stored": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errors.Join(step(ctx, "a"), tasks.Checkpoint(ctx, 1), errAgain)
			}
			_, err := tasks.Restore(ctx, new(int))
			return err
		}, tasks.ErrStep, "0 steps came before Restore, and 1 before"},
		"a state of another type": {func(ctx context.Context, attempt int) error {
			if attempt == 1 {
				return errors.Join(tasks.Checkpoint(ctx, "text"), errAgain)
			}
			_, err := tasks.Restore(ctx, new(int))
			return err
		}, tasks.ErrStep, "does not fit any more"},
		"an effect that is none": {func(ctx context.Context, _ int) error {
			tasks.Tx(ctx).Save("x", make(chan int), 0)
			return step(ctx, "a")
		}, nil, "transaction: save x"},
		"a long sleep": {func(ctx context.Context, _ int) error { return tasks.Sleep(ctx, "a", 101*365*24*time.Hour) }, tasks.ErrInvalid, "use at most"},
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, cfg link.Config) {
				var r tasks.Registry
				ended := make(chan error, 10)
				tasks.Handle(&r, tasks.Definition{Name: "t", MaxAttempts: 2, Backoff: time.Millisecond}, func(ctx context.Context, _ number) error {
					tasks.Tx(ctx).Increment("effects", 1)
					err := run.handler(ctx, tasks.InfoOf(ctx).Attempt)
					ended <- err
					if errors.Is(err, errAgain) {
						return err
					}
					return nil // the run fails nevertheless
				})
				c := newCluster(t, cfg, &r)
				require.NoError(t, c.cache.Save(t.Context(), "number", 1, 0))
				c.startMover()
				c.start(&r, 1)
				id := c.enqueue("t", tasks.Options{})
				var err error
				for range 2 {
					err = receive(t, ended)
				}
				require.Error(t, err)
				if run.kind != nil {
					require.ErrorIs(t, err, run.kind)
				}
				require.ErrorContains(t, err, run.text)
				c.eventually("dead", func() bool { return c.get(id).State == tasks.Dead })
				require.Contains(t, c.get(id).Reason.Error, run.text)
				require.NoError(t, c.inspector.Delete(t.Context(), id))
				require.Empty(t, c.stepKeys())
			})
		})
	}
}
