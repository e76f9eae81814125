package redisbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ErrClosed is what the use of a lazy bus ends with once its Serve has ended, and a
// wait for an announcement after [Announcements.Close].
var ErrClosed = errors.New("the bus is closed")

// opening is the state of a bus that learns its token from Redis, on first use.
type opening struct {
	learn func(context.Context) (link.Secret, error)
	mode  link.Mode
	also  link.Secret

	wanted chan struct{} // closed by the first use
	want   sync.Once

	mu      sync.Mutex
	failure error         // of the last try to learn the token, or to listen
	changed chan struct{} // closed and replaced when failure changes
	closed  bool
}

func newOpening(cfg BusConfig) *opening {
	return &opening{
		learn: cfg.Learn, mode: cfg.Mode, also: cfg.AlsoAccept, wanted: make(chan struct{}), changed: make(chan struct{}),
	}
}

var errNotOpen = fmt.Errorf("%w: the bus does not know its token yet (see Bus.Await)", link.ErrUnavailable)

// fail notes the outcome of a try; closed says that none follows.
func (o *opening) fail(err error, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failure, o.closed = err, o.closed || closed
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *opening) state() (closed bool, changed <-chan struct{}, failure error) {
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

// Await waits until a lazy bus (see [BusConfig].Learn) knows its token and hears
// what is sent to it, and has Serve begin with that. Any other bus may send from
// the start: there is nothing to wait for.
//
// While Redis is away it waits as long as ctx lasts; then the error is
// link.ErrUnavailable, with the reason. An error of Learn that is no outage is
// returned at once; Serve goes on trying. After Serve it is [ErrClosed].
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
			return fmt.Errorf("nothing was sent: %w: %w", context.Cause(ctx), link.NotSent(failure))
		}
	}
}

// learnToken waits for the first use of a lazy bus and learns its token. It
// reports whether there is one: not when ctx has ended before.
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
		o.fail(err, false)
		b.reports.Failed(b.reportName(), err)
		if err == nil {
			return true
		}
		if link.Sleep(ctx, link.Pause(failures)) != nil {
			return false
		}
	}
}

func (o *opening) learnInto(ctx context.Context, b *Bus) error {
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
