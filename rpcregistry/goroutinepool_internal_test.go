package rpcregistry

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheCrewGoesHomeWhenThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c goroutinePool
		idle := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.idle)
		}
		work := func(n int) {
			var all sync.WaitGroup
			all.Add(n) // so that none ends before all have begun
			for range n {
				c.do(func() { all.Done(); all.Wait() })
			}
			all.Wait()
		}
		work(3)
		require.Equal(t, 3, idle())
		for range 5 { // one goroutine is enough
			time.Sleep(idleTime / 2)
			work(1)
		}
		require.Equal(t, 1, idle())
		time.Sleep(2*idleTime + time.Second)
		require.Zero(t, idle())
		c.running.Wait() // they have returned
		work(2)
		require.Equal(t, 2, idle(), "and come again")
		c.close()
		c.running.Wait()
		require.Nil(t, c.timer)
		c.open()
		work(maxIdle + 1)
		require.Equal(t, maxIdle, idle())
		time.Sleep(2*idleTime + time.Second)
		require.Zero(t, idle())
		c.running.Wait()
	})
}
