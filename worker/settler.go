package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Settler hands over what the nodes of processes owned that are certain to be dead, without
// waiting for their leases. It is for the parent of such processes, which is no node.
type Settler struct {
	settler

	cfg      link.Config
	log      zerolog.Logger
	recorder *timeline.Recorder
}

// Settled sums up what a [Settler] has handed over.
type Settled struct {
	Nodes       int      // incarnations
	HandedOn    int      // tasks that went back to their queues
	Quarantined int      // tasks put aside after too many crashes
	Dead        []string // ids of the quarantined tasks
}

// NewSettler returns a settler for the cluster. Nothing is dialled before the first use.
func NewSettler(cfg link.Config, log zerolog.Logger) (*Settler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.Sealed()
	client, err := link.OpenClient(cfg, "stellar:guardian")
	if err != nil {
		return nil, err
	}
	reports := link.NewReports(log)
	s := &Settler{cfg: cfg, log: log, settler: settler{
		client: client, keys: cfg.Keys(), reports: reports, left: func(membership.Incarnation) {},
		directory: membership.Directory{Client: client, Keys: cfg.Keys(), OnAlien: reports.Alien},
	}}
	s.recorder = timeline.NewRecorder(client, s.keys, clientProcess(), log)
	s.recorder.Reports, s.observer = reports, newRecording(s.recorder)
	s.cache = cache.New(cache.Config{Client: client, Keys: s.keys, Reports: reports, Log: log})
	return s, nil
}

// Record records in the timeline what the parent has seen of a process. It never waits.
func (s *Settler) Record(e timeline.Event) { s.recorder.Record(e) }

// Serve writes what is recorded, and what the settler does, into the timeline, until ctx ends.
func (s *Settler) Serve(ctx context.Context) error { return s.recorder.Serve(ctx) }

// Close closes the connections.
func (s *Settler) Close() error { return s.client.Close() }

// Settle hands over what the nodes of the dead process owned that was launched under that
// name, and the incarnations in also: those whose id was given away while their handlers still
// ran, so that the member list does not have them. The caller guarantees that the process has
// ended. While Redis is away, Settle waits until ctx ends.
//
// A request to join that was under way when the process died may reach Redis after Settle has
// looked: call it again a little later. A node that joined so owns nothing, and its lease runs
// out.
func (s *Settler) Settle(ctx context.Context, launch string, also []membership.Incarnation) (Settled, error) {
	if launch == "" {
		return Settled{}, errors.New("settle: a process without a name cannot be told from others")
	}
	var members []membership.Member
	err := s.reports.Retry(ctx, "hand-over", func(ctx context.Context) (err error) {
		members, err = s.directory.List(ctx)
		return err
	})
	if err != nil {
		return Settled{}, err
	}
	for _, m := range members {
		if m.Process.Launch == launch {
			also = append(also, m.Incarnation)
		}
	}
	return s.settleAll(ctx, also)
}

// Warm makes the next [Settler.Settle] fast: it opens the connection if there is none, and has Redis
// know the scripts. It changes nothing.
func (s *Settler) Warm(ctx context.Context) error {
	nobody := membership.Incarnation{ID: "nobody", Epoch: 0, Nonce: "0"} // no node is this one
	if _, err := s.directory.List(ctx); err != nil {
		return err
	}
	verdict, err := s.directory.Condemn(ctx, nobody, false, 0)
	if err != nil || verdict != membership.Gone {
		return err
	}
	_, err = s.takeOver(ctx, nobody, queue.Remains{}, tasks.TakeOverStop)
	if err != nil {
		return err
	}
	_, err = s.cache.ReleaseAll(ctx, nobody.String())
	if err != nil {
		return err
	}
	if err := connections.Forget(ctx, s.client, s.keys, nobody.String()); err != nil {
		return err
	}
	_, err = s.directory.Leave(ctx, nobody)
	return err
}

// settleAll hands over the incarnations, some at a time.
func (s *Settler) settleAll(ctx context.Context, all []membership.Incarnation) (Settled, error) {
	var mu sync.Mutex
	var sum Settled
	var errs []error
	var gone []redisbus.Identity
	var working sync.WaitGroup
	room := make(turns, endTurns)
	for _, i := range all {
		done, err := room.take(ctx)
		if err != nil {
			errs = append(errs, err)
			break
		}
		working.Go(func() {
			defer done()
			handed, verdict, err := s.handOver(ctx, i, queue.Remains{Unknown: true}, tasks.TakeOverCrash)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			if err != nil || verdict != membership.Condemned {
				return
			}
			sum.Nodes++
			sum.HandedOn += handed.On
			sum.Quarantined += handed.Quarantined
			sum.Dead = append(sum.Dead, handed.Dead[:min(len(handed.Dead), maxDeadNamed)]...)
			gone = append(gone, redisbus.Identity{ID: i.ID, Incarnation: i.String()})
		})
	}
	working.Wait()
	if len(gone) > 0 {
		errs = append(errs, s.tell(ctx, gone))
	}
	return sum, errors.Join(errs...)
}

// tell tells the hosts of all processes which nodes are gone, so that calls that wait for their
// answers end now.
func (s *Settler) tell(ctx context.Context, gone []redisbus.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, leavesTime)
	defer cancel()
	token, err := redisbus.Token(ctx, s.client, s.keys, s.cfg.Token)
	if err != nil {
		return fmt.Errorf("tell that nodes are gone: %w", err)
	}
	cfg := redisbus.NewBusConfig(s.cfg, token)
	cfg.Publisher, cfg.Subscriber, cfg.Log, cfg.Reports, cfg.InboxOnly = s.client, s.client, s.log, s.reports, true
	cfg.Identity = redisbus.Identity{ID: hostPrefix + strings.ToLower(rand.Text()[:12])}
	bus, err := redisbus.NewBus(cfg)
	if err != nil {
		return err
	}
	defer bus.Close()
	_, err = bus.PublishWith(ctx, membersLeft, gone, redisbus.PublishOptions{Node: hostsInbox})
	return err
}
