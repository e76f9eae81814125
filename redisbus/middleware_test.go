package redisbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// appending is publish middleware that appends its name to the meta "path".
func appending(name string) redisbus.PublishMiddleware {
	return func(next redisbus.PublishFunc) redisbus.PublishFunc {
		return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
			m.Meta = map[string]string{"path": m.Meta["path"] + name}
			return next(ctx, m)
		}
	}
}

func TestMiddlewareWrapsMessagesTheFirstOutermost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var outcomes []int64
		a := start(t, cfg, "a", func(c *redisbus.BusConfig) {
			c.PublishMiddleware = []redisbus.PublishMiddleware{appending("1"), appending("2"), func(next redisbus.PublishFunc) redisbus.PublishFunc {
				return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
					m.Body = bytes.ToUpper(m.Body)
					n, err := next(ctx, m)
					outcomes = append(outcomes, n)
					return n, err
				}
			}}
		})
		heard := make(chan string, 10)
		hears := func(name string) redisbus.SubscriptionMiddleware {
			return func(next redisbus.Handler) redisbus.Handler {
				return func(ctx context.Context, m redisbus.Message) {
					heard <- name
					m.Body = append(json.RawMessage(`"heard "+`), m.Body...)
					next(ctx, m)
				}
			}
		}
		b := start(t, cfg, "b", func(c *redisbus.BusConfig) {
			c.SubscriptionMiddleware = []redisbus.SubscriptionMiddleware{hears("1"), hears("2")}
		})
		got, inline := inbox(b.Bus, "x"), make(chan redisbus.Message, 10)
		b.Subscribe("x", func(_ context.Context, m redisbus.Message) { inline <- m }, redisbus.SubscribeOptions{Inline: true})
		for range 2 {
			n, err := a.Send(t.Context(), "b", "x", "body")
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			m := receive(t, got)
			require.Equal(t, `"heard "+"heard "+"BODY"`, string(m.Body))
			require.Equal(t, map[string]string{"path": "12"}, m.Meta)
			require.Equal(t, "1", receive(t, heard))
			require.Equal(t, "2", receive(t, heard))
			require.Equal(t, `"BODY"`, string(receive(t, inline).Body), "inline handlers are not wrapped")
		}
		channel, sealed, err := seal(t.Context(), a, "x", "sealed", redisbus.PublishOptions{})
		require.NoError(t, err)
		require.NoError(t, redistest.Client(t, cfg).Publish(t.Context(), channel, sealed).Err())
		m := receive(t, inline)
		require.Equal(t, `"SEALED"`, string(m.Body))
		require.Equal(t, "12", m.Meta["path"])
		require.NoError(t, a.Post(t.Context(), redisbus.Outgoing{Type: "x", Body: json.RawMessage(`"posted"`)}, nil))
		require.Equal(t, `"posted"`, string(receive(t, inline).Body), "Post is below the middleware")
		require.Equal(t, []int64{1, 1, 0}, outcomes)
	})
}

func TestMiddlewareCannotBreakMessagesOrTheBus(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		var change func(m *redisbus.Outgoing) bool
		a := start(t, cfg, "a", func(c *redisbus.BusConfig) {
			c.PublishMiddleware = []redisbus.PublishMiddleware{func(next redisbus.PublishFunc) redisbus.PublishFunc {
				return func(ctx context.Context, m redisbus.Outgoing) (int64, error) {
					if !change(&m) {
						return 0, nil
					}
					return next(ctx, m)
				}
			}}
			calls := 0
			c.SubscriptionMiddleware = []redisbus.SubscriptionMiddleware{func(next redisbus.Handler) redisbus.Handler {
				return func(ctx context.Context, m redisbus.Message) {
					if calls++; calls == 1 {
						panic("the first message")
					}
					next(ctx, m)
				}
			}}
		})
		got := inbox(a.Bus, "x")
		for want, spoil := range map[error]func(m *redisbus.Outgoing) bool{
			redisbus.ErrPanicked: func(*redisbus.Outgoing) bool { panic("no") },
			redisbus.ErrTooLarge: func(m *redisbus.Outgoing) bool {
				m.Body = json.RawMessage(`"` + strings.Repeat("x", redisbus.MaxMessage) + `"`)
				return true
			},
			link.ErrName: func(m *redisbus.Outgoing) bool { m.Node = "a b"; return true },
			link.ErrMeta: func(m *redisbus.Outgoing) bool { m.Meta = map[string]string{"A": ""}; return true },
		} {
			change = spoil
			require.ErrorIs(t, a.Publish(t.Context(), "x", 1), want)
			_, _, err := seal(t.Context(), a, "x", 1, redisbus.PublishOptions{})
			require.ErrorIs(t, err, want)
		}
		change = func(m *redisbus.Outgoing) bool { m.Body = json.RawMessage(`{"a":1,"a":2}`); return true }
		require.Error(t, a.Publish(t.Context(), "x", 1))
		change = func(*redisbus.Outgoing) bool { return false }
		require.NoError(t, a.Publish(t.Context(), "x", 1), "middleware may hold a message back")
		_, _, err := seal(t.Context(), a, "x", 1, redisbus.PublishOptions{})
		require.Error(t, err, "but a transaction needs one")
		change = func(*redisbus.Outgoing) bool { return true }
		require.NoError(t, a.Publish(t.Context(), "x", 2))
		require.NoError(t, a.Publish(t.Context(), "x", 3))
		require.Equal(t, "3", string(receive(t, got).Body), "a panic of middleware ends one message")
	})
}
