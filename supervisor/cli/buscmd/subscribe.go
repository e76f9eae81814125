package buscmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

// subscribing implements the command subscribe.
type subscribing struct {
	count   int
	timeout time.Duration

	env      *cluster.Env
	messages chan redisbus.Message
	losses   *losses
}

// waitingMessages is how many messages may wait until they are printed.
const waitingMessages = 1024

func subscribeCommand(e *cluster.Env) *urfave.Command {
	s := &subscribing{env: e}
	return &urfave.Command{
		Name: "subscribe", Usage: "print the cluster's messages as they come", ArgsUsage: "[TYPE…]",
		Description: "One message on each line: its time, its sender, its type and its payload; with -o json an\n" +
			"object with all that it carries. Without TYPE it shows all messages to all nodes but calls and\n" +
			"replies, whose types are call and reply. Standard error tells what was lost or dropped, and\n" +
			"why. Ctrl-C ends it.\n\n" +
			"   $0 subscribe priceChanged\n" +
			"   $0 subscribe -o json | jq .body\n" +
			"   $0 subscribe priceChanged --count 1 --timeout 10s",
		Flags: e.ClientFlags(
			&urfave.IntFlag{
				Name: "count", Config: config.Decimal(), Destination: &s.count, Usage: "end after `N` messages", DefaultText: "no limit",
			},
			&urfave.DurationFlag{
				Name: "timeout", Destination: &s.timeout, DefaultText: "no limit",
				Usage: "end after that `TIME`, such as 10s; with --count it is a failure if fewer have come",
			},
		),
		Action: e.Action(s.run),
	}
}

func (s *subscribing) check(types []string) error {
	if s.env.Given("count") && s.count < 1 {
		return config.Usagef("--count: %d is not positive", s.count)
	}
	if s.env.Given("timeout") && s.timeout <= 0 {
		return config.Usagef("--timeout: %s is not positive", s.timeout)
	}
	for _, kind := range types {
		if err := link.CheckName("TYPE", kind); err != nil {
			return config.As(config.ErrUsage, err)
		}
	}
	return nil
}

func (s *subscribing) run(ctx context.Context, e *cluster.Env, types []string) error {
	if err := s.check(types); err != nil {
		return err
	}
	s.messages, s.losses = make(chan redisbus.Message, waitingMessages), newLosses()
	c, err := e.ConnectWith(ctx, worker.ClientConfig{Listen: true, Observer: s.losses})
	if err != nil {
		return err
	}
	defer c.Close()
	s.subscribe(c.Bus, types)
	if _, err := c.Dial(ctx); err != nil {
		return err
	}
	what := "all messages"
	if len(types) > 0 {
		what = strings.Join(types, ", ")
	}
	e.Notef("subscribed to %s in the namespace %s: Ctrl-C ends it", what, e.Namespace)
	defer func() { s.losses.write(e, true) }()
	err = s.print(ctx)
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && errors.Is(cause, context.Canceled) {
		return nil // somebody ended it, which is its usual end
	}
	return err
}

// subscribe has the messages of those types, or of all but calls and replies, and the losses come in the order of
// their arrival.
func (s *subscribing) subscribe(bus *redisbus.Bus, types []string) {
	if len(types) == 0 {
		types = []string{redisbus.AnyType}
	}
	hidden := func(kind string) bool {
		return types[0] == redisbus.AnyType && (kind == rpcregistry.CallType || kind == rpcregistry.ReplyType)
	}
	receive := func(_ context.Context, m redisbus.Message) {
		if hidden(m.Type) {
			return
		}
		select {
		case s.messages <- m:
		default:
			s.losses.MessageDropped(redisbus.DropOverflow)
		}
	}
	for i, kind := range types {
		options := redisbus.SubscribeOptions{Inline: true}
		if i == 0 { // every subscription is told of every gap
			options.OnGap = s.losses.gap
		}
		bus.Subscribe(kind, receive, options)
	}
}

// print prints messages until ctx or the timeout ends, or there were enough.
func (s *subscribing) print(ctx context.Context) error {
	var over <-chan time.Time
	if s.timeout > 0 {
		over = time.After(s.timeout)
	}
	for n := 0; s.count == 0 || n < s.count; {
		select {
		case m := <-s.messages:
			if err := writeMessage(s.env, m); err != nil {
				return err
			}
			n++
		case <-s.losses.changed:
			s.losses.write(s.env, false)
		case <-over:
			if s.count > 0 {
				return fmt.Errorf("%d of %s came within %s", n, link.Count(s.count, "message"), s.timeout)
			}
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
