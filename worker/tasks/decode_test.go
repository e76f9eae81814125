package tasks_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestAPayloadOfANewerVersionWaitsForANewerNode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		type newer struct {
			N string `json:"n"`
		}
		got := make(chan newer, 1)
		definition := tasks.Definition{Name: "greet", Backoff: time.Millisecond, MaxAttempts: 3}
		var before, after tasks.Registry
		tasks.Handle(&before, definition, func(context.Context, number) error { return nil })
		tasks.Handle(&after, definition, func(_ context.Context, in newer) error { got <- in; return nil })
		c := newCluster(t, cfg, &after)
		old := c.start(&before, 1)
		receipt, err := c.tasks.Enqueue(t.Context(), "greet", newer{"seven"})
		require.NoError(t, err)
		c.eventually("the old version has failed", func() bool { return c.get(receipt.ID).Attempts == 1 })
		last := c.get(receipt.ID).History[0]
		require.Contains(t, last.Error, `payload does not fit tasks_test.number: member "N"`)
		old.stop()
		c.start(&after, 1)
		c.startMover()
		require.Equal(t, newer{"seven"}, receive(t, got))
	})
}

func TestTheMemberThatDoesNotFitIsNamed(t *testing.T) {
	type address struct {
		Zip int `json:"zip"`
	}
	type order struct {
		To   address   `json:"to"`
		Due  time.Time `json:"due"`
		List []address `json:"list"`
	}
	var r tasks.Registry
	tasks.Handle(&r, tasks.Definition{Name: "order"}, func(context.Context, order) error { return nil })
	for payload, want := range map[string]string{
		`{"to":{"zip":"x"}}`:              `member "to.zip": `,
		`{"list":[{"zip":1},{"zip":{}}]}`: `member "list.zip": `,
		`{"to":{},"due":"tomorrow"}`:      `member "due": `,
		`{"to":7}`:                        `member "to": `,
		`"x"`:                             `payload does not fit tasks_test.order: json: `,
		`{"to":{"zip":1}`:                 `payload does not fit tasks_test.order: unexpected end`,
	} {
		err := r.Handler("order")(t.Context(), json.RawMessage(payload))
		require.ErrorIs(t, err, tasks.ErrPayload, payload)
		require.ErrorContains(t, err, want, payload)
	}
	require.NoError(t, r.Handler("order")(t.Context(), json.RawMessage(`{"later":1,"to":{"zip":1}}`)), "unknown members are left out")
}
