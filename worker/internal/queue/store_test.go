package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestDeadlinesInALongLineEndOneScriptAfterTheOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		client := redistest.Client(t, cfg)
		keys := cfg.Keys()
		store, producer := NewStore(client, keys), NewProducer(t.Context(), client, keys)
		defer producer.Close()
		late := Options{Deadline: 1000}
		plain, dying := NewKind("t", "q", Options{}), NewKind("t", "q", late)
		all := make([]Task, 25_000)
		for i := range all {
			all[i] = plain.Task(fmt.Sprint(i), NoOptions, []byte("1"))
			if i < 3 || i == 21_000 || i == 22_000 {
				all[i] = dying.Task(fmt.Sprint(i), late.String(), []byte("1"))
			}
		}
		_, refused, err := producer.Caller(t.Context(), errClosed).Enqueue(t.Context(), all)
		require.NoError(t, err)
		require.Empty(t, refused)
		for _, dead := range []int64{4, 5} { // those at the served end cost no search
			moved, err := store.MoveDue(t.Context(), Look{Mover: "m", Most: 500, KeepFor: time.Hour, Keep: 10})
			require.NoError(t, err)
			require.Equal(t, dead < 5, moved.More)
			require.Equal(t, dead, client.ZCard(t.Context(), keys.Dead()).Val())
		}
	})
}
