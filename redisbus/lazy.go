package redisbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ErrClosed is returned by a lazy bus whose Serve has ended, by a bus after [Bus.Close], and by
// a wait for an announcement after [Announcements.Close].
var ErrClosed = errors.New("the bus is closed")

// lazyToken is the state of a lazy bus, which learns its token on first use.
type lazyToken struct {
	learn func(context.Context) (link.Secret, error)
	mode  link.Mode
	also  link.Secret

	wanted chan struct{} // closed by the first use
	want   sync.Once     // closes wanted

	mu      sync.Mutex
	failure error         // the error of the last try to learn the token, or to listen
	changed chan struct{} // closed and replaced after every try
	closed  bool          // Serve has ended: no further try
}

func newLazyToken(cfg BusConfig) *lazyToken {
	return &lazyToken{
		learn: cfg.Learn, mode: cfg.Mode, also: cfg.AlsoAccept, wanted: make(chan struct{}), changed: make(chan struct{}),
	}
}

var errNoToken = fmt.Errorf("%w: the bus does not know its token yet (see Bus.Await)", link.ErrUnavailable)

// record records the error of a try to learn the token, nil for a success; closed: no
// further try follows.
func (o *lazyToken) record(err error, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failure, o.closed = err, o.closed || closed
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *lazyToken) state() (closed bool, changed <-chan struct{}, failure error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed, o.changed, o.failure
}

// Usable reports whether [Bus.Await] would return nil at once.
func (b *Bus) Usable() bool {
	if b.opening == nil {
		return true
	}
	select {
	case <-b.ready:
		closed, _, _ := b.opening.state()
		return !closed
	default:
		return false
	}
}

// Await has Serve learn the token of a lazy bus (see [BusConfig].Learn), and waits until
// the bus knows it and Redis has confirmed the bus's subscriptions. For any other bus,
// which may send from the start, Await returns nil at once.
//
// While Redis is away Await waits until ctx ends; the error is then
// link.ErrUnavailable, with the reason. An error of Learn that is no outage is
// returned at once, while Serve goes on trying. After Serve has ended the error is
// [ErrClosed].
func (b *Bus) Await(ctx context.Context) error {
	o := b.opening
	if o == nil {
		return nil
	}
	o.want.Do(func() { close(o.wanted) })
	for {
		closed, changed, failure := o.state()
		if closed || failure != nil && !link.IsOutage(failure) && !b.Usable() {
			return failure
		}
		select {
		case <-b.ready:
			return nil
		case <-changed:
		case <-ctx.Done():
			if failure == nil {
				failure = errors.New("redis has not answered yet")
			}
			return link.GaveUp(ctx, link.NotSent(failure))
		}
	}
}

// learnToken waits for the first use of a lazy bus and learns its token. It reports
// whether the token is known: false means that ctx ended first.
func (b *Bus) learnToken(ctx context.Context) bool {
	o := b.opening
	if o == nil || b.prover.Load() != nil {
		return true
	}
	select {
	case <-o.wanted:
	case <-ctx.Done():
		return false
	}
	for failures := 1; ; failures++ {
		err := o.learnInto(ctx, b)
		if ctx.Err() != nil {
			return false
		}
		o.record(err, false)
		if !errors.Is(err, ErrNoToken) { // the caller gets that one
			b.reports.Failed(b.reportName(), err)
		}
		if err == nil {
			return true
		}
		if link.Sleep(ctx, link.Pause(failures)) != nil {
			return false
		}
	}
}

func (o *lazyToken) learnInto(ctx context.Context, b *Bus) error {
	token, err := o.learn(ctx)
	if err != nil {
		return err
	}
	p, err := newProver(o.mode, token, o.also)
	if err != nil {
		return err
	}
	b.token = token
	b.prover.Store(p)
	return nil
}
