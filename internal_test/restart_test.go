package internal_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker/membership"
)

func TestARestartOfEveryNodeChangesNothingInTheCache(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		set := supervisortest.StartWith(t, nil, supervisor.Config{Workers: 3, Redis: cfg})
		api := set.Nodes()[0].API()
		for i := range 50 {
			require.NoError(t, api.Cache.Save(t.Context(), fmt.Sprint("value:", i), map[string]int{"n": i}, 0))
			_, err := api.Cache.Increment(t.Context(), "counter", int64(i))
			require.NoError(t, err)
			_, err = api.Cache.Push(t.Context(), "list", i)
			require.NoError(t, err)
		}
		everything := func() string {
			var b bytes.Buffer
			_, err := set.Nodes()[0].API().Cache.Export(t.Context(), &b, "*", cache.ExportOptions{})
			require.NoError(t, err)
			return b.String()
		}
		before := everything()
		require.Contains(t, before, "value:49")
		lives := map[string]bool{}
		for _, n := range set.Nodes() {
			lives[n.Ended().Incarnation] = true
		}
		require.NoError(t, api.RPC.Cast(t.Context(), "api.restart", nil, rpcregistry.All()))
		require.Eventually(t, func() bool {
			running := 0
			for _, n := range set.Nodes() {
				if n.State() == membership.Running && !lives[n.Ended().Incarnation] {
					running++
				}
			}
			return running == 3
		}, time.Minute, 5*time.Millisecond, "all live anew")
		for _, n := range set.Nodes() {
			n.Crash("drill")
		}
		require.NoError(t, set.AwaitReady(t.Context()))
		require.Eventually(t, func() bool { return set.Report().Crashes == 3 }, time.Minute, 5*time.Millisecond)
		require.NoError(t, set.AwaitReady(t.Context()))
		require.ElementsMatch(t, bytes.Split([]byte(before), []byte("\n")), bytes.Split([]byte(everything()), []byte("\n")))
	})
}
