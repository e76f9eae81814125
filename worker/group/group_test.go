package group_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stellarfw/stellar/worker/group"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFirstFailureEndsAll(t *testing.T) {
	boom := errors.New("boom")
	for name, fail := range map[string]func(context.Context) error{
		"error":  func(context.Context) error { return boom },
		"panic":  func(context.Context) error { panic(boom) },
		"nil":    func(context.Context) error { panic(nil) },
		"goexit": func(context.Context) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := group.New(t.Context())
			g.Go("waits", func(ctx context.Context) error { <-ctx.Done(); return nil })
			g.Go("fails", fail)
			err := g.Wait()
			require.Error(t, err)
			require.Equal(t, err, context.Cause(g.Context()))
			var p *group.PanicError
			switch name {
			case "error":
				require.Equal(t, boom, err)
			case "panic":
				require.ErrorIs(t, err, boom)
				require.ErrorAs(t, err, &p)
				require.Contains(t, string(p.Stack), "group_test.go")
			case "nil":
				require.ErrorAs(t, err, &p)
			case "goexit":
				require.ErrorIs(t, err, group.ErrGoexit)
			}
		})
	}
}

func TestStopIsNoFailure(t *testing.T) {
	g := group.New(t.Context())
	g.Go("waits", func(ctx context.Context) error { <-ctx.Done(); return nil })
	g.Stop()
	require.NoError(t, g.Wait())
}
