package redisbus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// PublishFunc sends a message and returns how many subscribers its channel has.
type PublishFunc func(ctx context.Context, m Outgoing) (receivers int64, err error)

// PublishMiddleware wraps the sending of messages by [Bus.Publish], [Bus.Send] and
// [Bus.PublishWith]. It may change the message before it gives it to next, and sees
// how sending ended. Maps and bodies may be shared: replace them, never change them
// in place. It runs on the goroutine that publishes; a panic ends the publish with
// [ErrPanicked].
//
// It wraps [Bus.Prepare] as well. There next only makes the message, with 0 receivers;
// the transaction publishes it later, or never ([Outgoing].Transaction).
//
// Messages of [Bus.Post] and [Bus.PostNow], such as RPC calls and replies, do not pass
// through it.
type PublishMiddleware func(next PublishFunc) PublishFunc

// SubscriptionMiddleware wraps the handlers of subscriptions, except those of
// [SubscribeOptions.Inline], whose goroutine must not be held up. It may change the
// message before it gives it to next, under the rule in [Message.Body], or not call
// next at all.
type SubscriptionMiddleware func(next Handler) Handler

// ErrPanicked is returned for a message whose publish middleware panicked. The
// stack is in the log.
var ErrPanicked = errors.New("publish middleware panicked")

// wrapPublish returns send with the middleware around it. The message that leaves the
// middleware is checked before send gets it.
func (b *Bus) wrapPublish(send PublishFunc) PublishFunc {
	if len(b.publishMiddleware) == 0 {
		return send
	}
	next := PublishFunc(func(ctx context.Context, m Outgoing) (int64, error) {
		o := PublishOptions{Node: m.Node, Meta: m.Meta}
		m, err := o.outgoing(m.Type, m.Body)
		if err != nil {
			return 0, err
		}
		return send(ctx, m)
	})
	for _, m := range slices.Backward(b.publishMiddleware) {
		next = m(next)
	}
	return func(ctx context.Context, m Outgoing) (receivers int64, err error) {
		defer func() {
			if p := recover(); p != nil {
				b.log.Error().Str("messageType", m.Type).Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).
					Msg("publish middleware panicked")
				err = fmt.Errorf("%w: %v", ErrPanicked, p)
			}
		}()
		return next(ctx, m)
	}
}

// prepareWrapped returns the message as it leaves the publish middleware.
func (b *Bus) prepareWrapped(ctx context.Context, m Outgoing) (out Outgoing, err error) {
	passed := false
	m.Transaction = true
	_, err = b.wrapPublish(func(_ context.Context, m Outgoing) (int64, error) {
		out, passed = m, true
		_, err := b.check(m)
		return 0, err
	})(ctx, m)
	if err == nil && !passed {
		err = fmt.Errorf("message %s: publish middleware did not pass it on", m.Type)
	}
	return out, err
}

func (b *Bus) wrapHandler(handle Handler) Handler {
	for _, m := range slices.Backward(b.subscriptionMiddleware) {
		handle = m(handle)
	}
	return handle
}

// checkMiddleware returns an error that names the kind if one of the middleware is nil.
func checkMiddleware[M ~func(F) F, F any](kind string, middleware []M) error {
	for _, m := range middleware {
		if m == nil {
			return errors.New("nil " + kind + " middleware")
		}
	}
	return nil
}
