package cache

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/flight"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Batcher sends what concurrent callers ask for together, in pipelines; the request of a
// lone caller is sent at once (see package flight). The items of a fast script that fly
// together and have a head in common run as one: most of a script's cost is that it runs
// at all. The caches of a process share one, see [Config].
type Batcher struct {
	client *redis.Client
	queue  *flight.Queue[*request]
}

// conn is a cache's way to Redis: a client of its own, and the batcher.
type conn struct {
	*redis.Client
	batcher *Batcher
	closed  atomic.Bool // the cache is closed, though the batcher may not be
}

// request is what one caller asks for: a command, or an item of a fast script.
type request struct {
	cmd *redis.Cmd // nil for an item

	script *link.Script
	head   head
	keys   [2]string // "" for none
	text   string    // "" for none
	value  []byte    // nil for none

	result any // of the item
	err    error
}

// head is what the items of one run have in common: the first key and arguments of the
// script.
type head struct {
	key  string // "" for none
	args [2]int64
	n    int // how many of args there are
}

// NewBatcher returns a batcher that sends with this client.
func NewBatcher(client *redis.Client) *Batcher {
	b := &Batcher{client: client}
	// The bounds are small because all callers of a flight wait for its last answer, and
	// everybody for a script that runs.
	bounds := flight.Limits{Flights: 2, Items: 256, Bytes: 256 << 10}
	b.queue = flight.New(bounds, (*request).size, b.send)
	return b
}

func (r *request) size() int {
	if r.cmd != nil {
		return link.TextSize(r.cmd.Args())
	}
	return len(r.keys[0]) + len(r.keys[1]) + len(r.text) + len(r.value)
}

// Process implements [link.Processor].
func (c *conn) Process(ctx context.Context, cmd redis.Cmder) error {
	reply, ok := cmd.(*redis.Cmd)
	if !ok {
		return c.Client.Process(ctx, cmd)
	}
	b := c.batcher
	if err := c.err(); err != nil {
		cmd.SetErr(err)
		return err
	}
	if b.queue.Start() {
		err := b.client.Process(ctx, cmd)
		b.queue.End(ctx)
		return err
	}
	// The flight gets a copy: the caller may give up and use cmd while it is being written.
	together := redis.NewCmd(ctx, cmd.Args()...)
	if err := b.wait(ctx, &request{cmd: together}); err != nil {
		cmd.SetErr(err)
		return err
	}
	reply.SetVal(together.Val())
	cmd.SetErr(together.Err())
	return cmd.Err()
}

// item runs a fast script for one item, together with those of other callers. usual is
// false for a case that the script does not handle: then it has done nothing.
func (c *conn) item(ctx context.Context, r *request) (result any, usual bool, err error) {
	b := c.batcher
	if err := c.err(); err != nil {
		return nil, true, err
	}
	if b.queue.Start() {
		run := []*request{r}
		readItems(run, r.script.RunWords(ctx, b.client, wordsOf(run)))
		b.queue.End(ctx)
	} else if err := b.wait(ctx, r); err != nil {
		return nil, true, link.Explain(err)
	}
	return r.result, r.result != int64(0), r.err
}

// err returns the error of every request after the cache's Close.
func (c *conn) err() error {
	if c.closed.Load() {
		return link.NotSent(ErrClosed)
	}
	return nil
}

// wait sends a request with the next flight.
func (b *Batcher) wait(ctx context.Context, r *request) error {
	sent, err := b.queue.Wait(ctx, r)
	if err != nil && !sent {
		err = link.NotSent(err)
	}
	return err
}

// send sends the requests as one pipeline. The connection's timeouts bound the time.
func (b *Batcher) send(ctx context.Context, requests []flight.Item[*request]) {
	p := b.client.Pipeline()
	var commands []*redis.Cmd
	var runs [][]*request
	for _, r := range requests {
		if cmd := r.Value.cmd; cmd != nil {
			_ = p.Process(ctx, cmd)
			commands = append(commands, cmd)
		} else {
			runs = addItem(runs, r.Value)
		}
	}
	replies := make([]*redis.Cmd, len(runs))
	for i, run := range runs {
		replies[i] = run[0].script.RunWords(ctx, p, wordsOf(run))
	}
	_, err := p.Exec(ctx)
	for _, cmd := range append(commands, replies...) {
		if err != nil && cmd.Err() == nil && cmd.Val() == nil && !errors.Is(err, redis.Nil) {
			cmd.SetErr(err)
		}
	}
	for i, run := range runs {
		if redis.HasErrorPrefix(replies[i].Err(), "NOSCRIPT") {
			replies[i] = run[0].script.RunWords(ctx, b.client, wordsOf(run))
		}
		readItems(run, replies[i])
	}
}

// addItem adds an item to the run that it belongs to. There are few runs in a flight.
func addItem(runs [][]*request, r *request) [][]*request {
	for i, run := range runs {
		if run[0].script == r.script && run[0].head == r.head {
			runs[i] = append(run, r)
			return runs
		}
	}
	return append(runs, []*request{r})
}

// wordsOf returns the words of the command that runs the script (see [link.Script.RunWords]).
// The keys are that of the head, then the first of each item, then the second of each; the
// arguments are those of the head, then those of each item.
func wordsOf(run []*request) []any {
	words := make([]any, 3, 6+4*len(run))
	if head := &run[0].head; head.key != "" {
		words = append(words, &head.key)
	}
	for i := range run[0].keys {
		for _, r := range run {
			if r.keys[i] != "" {
				words = append(words, &r.keys[i])
			}
		}
	}
	words[2] = len(words) - 3
	for _, arg := range run[0].head.args[:run[0].head.n] {
		words = append(words, arg)
	}
	for _, r := range run {
		if r.text != "" {
			words = append(words, &r.text)
		}
		if r.value != nil {
			words = append(words, r.value)
		}
	}
	return words
}

// readItems gives every item its part of the reply.
func readItems(run []*request, cmd *redis.Cmd) {
	var results []any
	reply, err := link.ReplyOf(cmd)
	if err == nil {
		err = reply.Scan(&results)
	}
	if err == nil && len(results) != len(run) {
		err = link.ErrMalformedReply
	}
	for i, r := range run {
		if r.err = err; err == nil {
			r.result = results[i]
		}
	}
}
