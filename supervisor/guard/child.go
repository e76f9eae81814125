package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/builtin"
	"github.com/stellarfw/stellar/worker/membership"
)

// Variable marks the environment of a child; its value is the number of the file that leads
// to the guardian. It is no setting.
const Variable = "STELLAR_GUARDED_BY"

// startTime is how long a child waits for the guardian's first message.
const startTime = 30 * time.Second

// Child is the child's end of the connection with its guardian.
type Child struct {
	pipe  *pipe
	start start

	asking sync.Mutex // one at a time
	asked  int        // how often the guardian was asked
	told   chan done  // the answers

	operation atomic.Pointer[builtin.Operation] // of the guardian

	stops  chan int   // 1: drain; 2: within a second
	orders chan Order // operations on the set
	lost   chan struct{}
	why    error // after lost
	pages  *pages

	telling sync.Mutex
	last    Status // told last
	lastAt  time.Time
}

// Attach returns the connection with the guardian that has started this process; value is that
// of [Variable]. It waits for the guardian's first message.
func Attach(value string) (*Child, error) {
	number, err := strconv.Atoi(value)
	if err != nil || number < 3 {
		return nil, fmt.Errorf("%s: %q is not the number of a file: this variable is set by a guardian only, unset it", Variable, value)
	}
	closeOnExec(number) // not for the programs of command tasks
	p, err := newPipe(os.NewFile(uintptr(number), "guardian"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: this variable is set by a guardian only, unset it", Variable, err)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(startTime))
	m, err := p.read()
	if err == nil && m.Start == nil {
		err = errors.New("the guardian's first message is not a start")
	}
	if err != nil {
		_ = p.write(message{End: &End{Code: 1, Error: err.Error()}}) // of this version
		p.close()
		return nil, fmt.Errorf("guardian: %w", err)
	}
	_ = p.conn.SetReadDeadline(time.Time{})
	c := &Child{
		pipe: p, start: *m.Start, stops: make(chan int, 2), orders: make(chan Order, 64), told: make(chan done, 1), lost: make(chan struct{}),
		pages: newPages(),
	}
	c.operation.Store(m.Start.Operation)
	go c.listen()
	return c, nil
}

// listen reads the guardian's messages until the guardian has gone.
func (c *Child) listen() {
	defer close(c.lost)
	defer c.pages.Close()
	for {
		m, err := c.pipe.read()
		if err != nil {
			c.why = err
			return
		}
		switch {
		case m.Stop > 0:
			select {
			case c.stops <- m.Stop:
			default: // there are two at most
			}
		case m.Connect:
			if conn, err := c.pipe.files.next(); err == nil {
				c.pages.add(conn)
			}
		case m.Operation != nil:
			c.operation.Store(m.Operation)
		case m.Told != nil:
			select {
			case c.told <- *m.Told:
			default: // nobody waits for it any more
			}
		case m.Order != nil:
			select {
			case c.orders <- *m.Order:
			default:
				c.answer(m.Order.Number, errors.New("too many orders at a time"))
			}
		}
	}
}

// Guarded returns the process's place, for its member records.
func (c *Child) Guarded() membership.Guarded {
	return membership.Guarded{Launch: c.start.Launch, Guardian: c.start.Guardian, Slot: c.start.Slot}
}

// Secrets returns the environment variables that the guardian has and this process has not.
func (c *Child) Secrets() map[string]string { return c.start.Secrets }

// Configure changes the configuration of the set to what the guardian wants of it.
func (c *Child) Configure(cfg *supervisor.Config) {
	cfg.Guarded, cfg.Guardian, cfg.Ended = c.Guarded(), c, c.nodeEnded
	if n := c.start.Workers; n != nil {
		if cfg.Workers = *n; cfg.Workers == 0 {
			cfg.Workers = supervisor.Idle
		}
	}
	if c.start.Again {
		cfg.StartTimeout = patience
	}
}

// patience is how long a child waits for Redis where it, or another child, has worked before: for
// nodes that run, an outage may last as long.
const patience = 1000 * time.Hour

// Checks reports whether this process only has to check whether it could be the guardian, and then to end.
func (c *Child) Checks() bool { return c.start.Check }

// BeginsQuiet reports whether the set has to claim no tasks from the start.
func (c *Child) BeginsQuiet() bool { return c.start.Quiet }

// Operation implements supervisor.Guardian.
func (c *Child) Operation() *builtin.Operation { return c.operation.Load() }

// askTime is how long a child waits for the guardian's answer.
const askTime = 3 * time.Second

// errSilent reports that the guardian may have begun an operation, or not.
var errSilent = fmt.Errorf("the guardian has not answered within %s whether it has begun: see its log", askTime)

// Begin implements supervisor.Guardian.
func (c *Child) Begin(kind string) error {
	_, err := c.ask(Order{What: kind})
	return err
}

// Scale implements supervisor.Guardian.
func (c *Child) Scale(workers int) error {
	_, err := c.ask(Order{What: Scale, Workers: workers})
	return err
}

// Quiet implements supervisor.Guardian.
func (c *Child) Quiet(on bool) error {
	what := Resume
	if on {
		what = Quiet
	}
	_, err := c.ask(Order{What: what})
	return err
}

// Status implements supervisor.Guardian.
func (c *Child) Status() *builtin.SetSum {
	d, err := c.ask(Order{What: askStatus})
	if err != nil {
		return nil
	}
	return d.Set
}

// ask asks the guardian for an operation, or for what it knows.
func (c *Child) ask(what Order) (none done, err error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	c.asked++
	what.Number = c.asked
	if err := c.pipe.write(message{Ask: &what}); err != nil {
		return none, fmt.Errorf("ask the guardian: %w", err)
	}
	over := time.NewTimer(askTime)
	defer over.Stop()
	for {
		select {
		case d := <-c.told:
			switch {
			case d.Number != c.asked: // the answer to one that waited no longer
			case d.Error == "":
				return d, nil
			default:
				return none, answered{d.Code, d.Error}
			}
		case <-over.C:
			return none, errSilent
		case <-c.lost:
			return none, errors.New("the guardian has ended")
		}
	}
}

// answered is an error that came over a pipe.
type answered struct {
	code rpcregistry.Code
	text string
}

func (a answered) Error() string { return a.text }

func (a answered) Unwrap() error {
	if a.code == "" {
		return nil
	}
	return a.code
}

// Stops receives 1 when the child has to drain, and 2 when it has to stop within a second.
func (c *Child) Stops() <-chan int { return c.stops }

// Lost is closed when the guardian has gone, or is not understood.
func (c *Child) Lost() <-chan struct{} { return c.lost }

// Why returns why the guardian was lost: the error of a message that was not understood, or nil if it has
// ended. It may be called when Lost is closed.
func (c *Child) Why() error {
	if ended(c.why) {
		return nil
	}
	return c.why
}

// ended reports whether the error of a read says only that the other end is closed.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET)
}

// NextOrder waits for an order, which [Child.Done] has to answer, until ended is closed.
func (c *Child) NextOrder(ended <-chan struct{}) (o Order, ok bool) {
	select {
	case o = <-c.orders:
		return o, true
	case <-ended:
		return o, false
	}
}

// Done tells the guardian that an order has been carried out, or failed, and what the set is like now.
func (c *Child) Done(ctx context.Context, number int, err error, set *supervisor.Set) {
	c.tell(ctx, set)
	c.answer(number, err)
}

func (c *Child) answer(number int, err error) {
	d := &done{Number: number}
	if err != nil {
		d.Error = err.Error()
	}
	_ = c.pipe.write(message{Done: d})
}

// Intervals of the status: how often a child looks whether it has changed, and how often it tells it
// anyway.
const (
	lookInterval = 50 * time.Millisecond
	tellInterval = time.Second
)

// Tell tells the guardian of the set's status until ended is closed. After the end of ctx the set
// drains, and the number of its nodes says nothing of the next life.
func (c *Child) Tell(ctx context.Context, set *supervisor.Set, ended <-chan struct{}) {
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		c.tell(ctx, set)
		select {
		case <-look.C:
		case <-ended:
			return
		}
	}
}

// tell tells the guardian of the set's status if it has changed, or was told some time ago.
func (c *Child) tell(ctx context.Context, set *supervisor.Set) {
	c.telling.Lock()
	defer c.telling.Unlock()
	s, last := statusOf(set), c.last
	if ctx.Err() != nil {
		s.Workers = last.Workers
	}
	changed := s.Ready != last.Ready || s.Workers != last.Workers || s.Leaving != last.Leaving ||
		s.Quiet != last.Quiet || s.Healthy != last.Healthy || s.Redis != last.Redis
	if !changed && time.Since(c.lastAt) < tellInterval {
		return
	}
	s.Report = unnamed(set.Report())
	c.last, c.lastAt = s, time.Now()
	_ = c.pipe.write(message{Status: &s})
}

func statusOf(set *supervisor.Set) Status {
	s := set.Status()
	return Status{Ready: s.Ready, Workers: s.Workers, Leaving: s.Leaving, Quiet: s.Quiet, Healthy: s.Healthy, Redis: s.Redis}
}

// End tells the guardian how this process ends.
func (c *Child) End(e End) {
	e = e.trimmed()
	_ = c.pipe.write(message{End: &e})
}

// nodeEnded tells the guardian of a node that it could not find on Redis: its handlers still run, and its
// id may be free.
func (c *Child) nodeEnded(e worker.Ended) {
	if len(e.Running) > 0 {
		_ = c.pipe.write(message{Abandoned: e.Incarnation})
	}
}
