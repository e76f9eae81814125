package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
)

// ErrLeaseLost is the cause with which a lease's context ends when the lease was lost:
// another process took over, Redis lost the lease, or it could not be renewed in time.
var ErrLeaseLost = errors.New("lease lost")

// ErrIDTaken is returned by [Keeper.Join] when another live node has the exact id asked for.
var ErrIDTaken = errors.New("node id is taken")

// DefaultLease is how long a lease lasts unless [Times] says otherwise.
const DefaultLease = 15 * time.Second

// Times are the timings of leases. The zero value means the defaults.
type Times struct {
	Lease     time.Duration // how long a lease lasts on Redis's clock; default [DefaultLease]
	Heartbeat time.Duration // how often it is renewed; default a third of Lease
	Fence     time.Duration // how long after the last renewal a process ends its own leases; default two thirds of Lease
}

func (t Times) withDefaults() Times {
	t.Lease = cmp.Or(t.Lease, DefaultLease)
	t.Heartbeat = cmp.Or(t.Heartbeat, t.Lease/3)
	t.Fence = cmp.Or(t.Fence, t.Lease*2/3)
	return t
}

// Keeper renews the leases of all nodes of one process.
type Keeper struct {
	// Reports logs when leases cannot be renewed. Default: the keeper's own. Set it before
	// Serve.
	Reports *link.Reports
	// Renewals is the client that renews the leases. Nothing else should keep it busy.
	// Default: that of the directory. Set it before Serve.
	Renewals redis.UniversalClient

	directory Directory
	times     Times

	mu   sync.Mutex
	held map[*Lease]struct{}
}

// NewKeeper returns a keeper of the leases in that directory.
func NewKeeper(d Directory, t Times, log zerolog.Logger) *Keeper {
	return &Keeper{Reports: link.NewReports(log), Renewals: d.Client, directory: d, times: t.withDefaults(), held: map[*Lease]struct{}{}}
}

// Lease is the lease of an incarnation of this process. It ends with [Lease.Release] or when
// it is lost.
type Lease struct {
	Incarnation Incarnation

	keeper *Keeper
	alive  func() bool
	ctx    context.Context //nolint:containedctx // the lease is a context, so that its holder learns of its end
	cancel context.CancelCauseFunc
	fence  *time.Timer // ends the lease when it was not renewed in time
}

// Context returns a context that ends with the lease, with the cause [ErrLeaseLost] when the
// lease was lost.
func (l *Lease) Context() context.Context { return l.ctx }

// Release ends the lease in this process. On Redis it lasts until the incarnation is
// condemned, or runs out.
func (l *Lease) Release() { l.end(context.Canceled) }

func (l *Lease) end(cause error) {
	l.keeper.mu.Lock()
	delete(l.keeper.held, l)
	l.keeper.mu.Unlock()
	l.fence.Stop()
	l.cancel(cause)
}

// JoinRequest has the arguments of [Keeper.Join].
type JoinRequest struct {
	Prefix  string  // of the id; the lowest free number follows
	ID      string  // the exact id, instead of Prefix and a number
	Prefer  string  // an id with the prefix Prefix, taken if its number is free
	Process Process // stored in the member record
	// Alive reports whether the node's own loop still runs. If it does not, the lease is
	// not renewed. Nil: the lease is always renewed.
	Alive func() bool
}

// Join adds a new incarnation to the cluster. The keeper renews its lease until the lease is
// released or lost. Join waits until ctx ends for Redis, and for keys of a wrong type to be
// mended. The error is [ErrIDTaken], a [*link.LayoutError], or one of link.Explain.
func (k *Keeper) Join(ctx context.Context, r JoinRequest) (*Lease, error) {
	own := k.directory.layouts()
	r.Process.Layout, r.Process.Lease = own.max, k.times.Lease.Milliseconds()
	info, err := r.Process.record()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	prefix, prefer := r.Prefix, 0
	if p, n := number(r.Prefer); p == r.Prefix {
		prefer = n
	}
	if r.ID != "" {
		prefix, prefer = number(r.ID)
	}
	again := false
	keys := append(k.directory.layoutKeys(), k.directory.Keys.Numbers(prefix))
	i := Incarnation{Nonce: newNonce()}
	var sent time.Time
	var unknown error
	err = k.Reports.Insist(ctx, joining, func(ctx context.Context) error {
		sent = time.Now()
		reply, err := joinScript.Call(ctx, k.directory.Client, keys,
			prefix, r.ID, prefer, i.Nonce, k.times.Lease.Milliseconds(), info, again, own.min, own.max)
		again = again || link.OutcomeOf(err) == link.Unknown
		if wrong, ok := errors.AsType[*link.WrongTypeError](err); ok && wrong.Key == k.directory.Keys.Layout() {
			unknown = err // nobody may work with data of an unknown layout
			return nil
		}
		if err != nil {
			return err
		}
		return reply.Scan(&i.ID, &i.Epoch)
	})
	err = cmp.Or(err, unknown)
	if link.WordOf(err) == "TAKEN" {
		return nil, fmt.Errorf("join as %s: %w: stop that node, or choose another id", r.ID, ErrIDTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("join: %w", k.directory.layoutError(err))
	}
	return k.hold(ctx, i, r.Alive, sent), nil
}

// hold returns the lease of an incarnation; sent is when the request to join was sent.
func (k *Keeper) hold(ctx context.Context, i Incarnation, alive func() bool, sent time.Time) *Lease {
	l := &Lease{Incarnation: i, keeper: k, alive: alive}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.fence = time.AfterFunc(k.times.Fence-time.Since(sent), func() {
		l.end(fmt.Errorf("%w: not renewed for %s", ErrLeaseLost, k.times.Fence))
	})
	k.mu.Lock()
	k.held[l] = struct{}{}
	k.mu.Unlock()
	return l
}

// heartbeat and joining name the keeper's work in reports.
const (
	heartbeat = "heartbeat"
	joining   = "join"
)

// Serve renews the leases until ctx ends. When Redis does not answer, it tries again sooner
// than at the next heartbeat; that is not an error.
func (k *Keeper) Serve(ctx context.Context) error {
	wait, failures := k.times.Heartbeat, 0
	for link.Sleep(ctx, wait) == nil {
		err := k.renew(ctx)
		k.Reports.Failed(heartbeat, err)
		if err != nil {
			failures++
			wait = min(k.times.Heartbeat, link.Pause(failures))
			continue
		}
		wait, failures = k.times.Heartbeat, 0
	}
	return context.Cause(ctx)
}

// renew renews all leases whose nodes are alive, with one script.
func (k *Keeper) renew(ctx context.Context) error {
	k.mu.Lock()
	leases := make([]*Lease, 0, len(k.held))
	for l := range k.held {
		if l.alive == nil || l.alive() {
			leases = append(leases, l)
		}
	}
	k.mu.Unlock()
	if len(leases) == 0 {
		return nil
	}
	args := make([]any, 0, len(leases)+1)
	args = append(args, k.times.Lease.Milliseconds())
	for _, l := range leases {
		args = append(args, l.Incarnation.String())
	}
	sent := time.Now()
	reply, err := renewScript.Call(ctx, k.Renewals, []string{k.directory.Keys.Leases()}, args...)
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	for i, l := range leases {
		var held bool
		if err := reply.Row(i).Scan(&held); err != nil {
			return fmt.Errorf("renew leases: %w", err)
		}
		if !held {
			l.end(fmt.Errorf("%w: another took over, or Redis forgot it", ErrLeaseLost))
			continue
		}
		l.fence.Reset(k.times.Fence - time.Since(sent))
	}
	return nil
}
