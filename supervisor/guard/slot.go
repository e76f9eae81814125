package guard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/membership"
)

// slot runs the successive lives of one child.
type slot struct {
	g      *Guardian
	number int
	first  chan struct{} // closed when the first life has told of itself, or has ended
	once   sync.Once

	failures int           // deaths in a row
	pause    time.Duration // before the next life

	look  func(*life)    // looks after a life until it has ended
	lives sync.WaitGroup // that are looked after

	trial bool // no slot: its life says whether a program can take the guardian's place

	mu      sync.Mutex
	path    string // of the program of the next life
	life    *life  // the present one; nil between two
	told    bool   // the present or a past life has sent a status
	status  Status // the latest; of a child that has ended, with no node ready
	retired bool   // no other life follows
}

func newSlot(g *Guardian, number int) *slot {
	return &slot{
		g: g, number: number, path: g.cfg.ownPath(), first: make(chan struct{}),
		status: Status{Workers: g.cfg.Workers, Healthy: true, Redis: true},
	}
}

// Timings of children.
const (
	// silence is how long a child may tell nothing of itself before it counts as hung.
	silence = 30 * time.Second
	// doubt is how long a child may tell nothing of itself and still counts as healthy.
	doubt = 5 * time.Second
	// settleFirst is how long the next life of a child waits until what the last one owned has been
	// handed over, so that it finds its ids free, and it is known whether the last one had tasks.
	settleFirst = time.Second
)

// serve runs the lives of the child until ctx ends. settling bounds what is settled after them.
func (s *slot) serve(ctx, settling context.Context) {
	if _, retired := s.state(); retired { // under a guardian before
		return
	}
	defer s.lives.Wait()
	defer s.retire()
	defer s.once.Do(func() { close(s.first) })
	s.look = func(l *life) { s.lookAfter(ctx, settling, l) }
	l := s.present() // that of a guardian of which this one has taken the place
	for l != nil || link.Sleep(ctx, s.pause) == nil {
		if l == nil {
			var err error
			if l, err = s.launch(s.program()); err != nil {
				if !s.notStarted(ctx, err) {
					return
				}
				continue
			}
			s.begin(l)
		} else {
			go l.wait()
			go l.listen()
			s.keep(l)
		}
		l = l.last()
		lived := time.Since(l.began)
		l.awaitSettled(ctx)
		if !s.next(ctx, l, l.how(), lived) {
			return
		}
		l = nil
	}
}

// end ends the life of a slot that a guardian before had, and this one has not.
func (s *slot) end(settling context.Context) {
	ended, cancel := context.WithCancel(settling)
	cancel()
	s.mu.Lock()
	l := s.life
	s.retired = true
	s.mu.Unlock()
	if l == nil {
		return
	}
	s.g.log.Info().Int("process", s.number).Msg("there are fewer processes now: this one drains")
	go l.wait()
	go l.listen()
	s.lookAfter(ended, settling, l)
}

// awaitFirst waits until the first life has told of itself, or has ended.
func (s *slot) awaitFirst(ctx context.Context) {
	select {
	case <-s.first:
	case <-ctx.Done():
	}
}

func (s *slot) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// state returns what the present life has told, or the last one.
func (s *slot) state() (now Status, retired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.retired
}

func (s *slot) hasTold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told || s.retired
}

// program returns the path of the program of the next life.
func (s *slot) program() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path
}

// begin makes a life the present one.
func (s *slot) begin(l *life) {
	s.mu.Lock()
	s.install(l)
	s.mu.Unlock()
	s.keep(l)
}

// install makes a life the present one, and what it has told that of the slot. The caller holds s.mu.
func (s *slot) install(l *life) {
	if s.life = l; l.told {
		s.told, s.status = true, l.status
	}
}

// keep has a life looked after. It returns false for a slot that has no more lives.
func (s *slot) keep(l *life) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.lives.Go(func() { s.look(l) })
	return true
}

// lookAfter returns when the life has ended and its programs are killed.
func (s *slot) lookAfter(ctx, settling context.Context, l *life) {
	l.await(ctx)
	s.g.owe(l)
	s.bury(l)
	l.settled = s.settle(settling, l)
	close(l.over)
}

// last waits until the life has ended, or that which has taken its place, and returns the one that
// nothing has replaced.
func (l *life) last() *life {
	for {
		select {
		case <-l.over:
		case <-l.leave:
		}
		l.slot.mu.Lock()
		heir := l.heir
		l.slot.mu.Unlock()
		if heir == nil {
			<-l.over
			return l
		}
		l = heir
	}
}

func newLife(s *slot, process *os.Process, p *pipe) *life {
	return &life{
		slot: s, process: process, pid: process.Pid, pipe: p, heard: make(chan struct{}, 1),
		exited: make(chan struct{}), read: make(chan struct{}), leave: make(chan struct{}), over: make(chan struct{}),
		frozen: make(chan struct{}), thaw: make(chan struct{}),
	}
}

// launch starts a life of the program at path.
func (s *slot) launch(path string) (*life, error) {
	cfg := &s.g.cfg
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	p, err := newPipe(ours)
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		p.close()
		return nil, err
	}
	defer func() { _ = null.Close() }()
	process, err := s.g.starter.start(path, cfg.Args, &os.ProcAttr{
		Env:   append(slices.Clip(cfg.Environment), Variable+"=3"),
		Files: []*os.File{null, cfg.Stdout, cfg.Stderr, theirs},
		Sys:   attributes(),
	})
	if err != nil {
		p.close()
		return nil, err
	}
	l := newLife(s, process, p)
	l.launch, l.began = strings.ToLower(rand.Text()), time.Now()
	s.mu.Lock()
	begin := &start{Slot: s.number, Launch: l.launch, Guardian: os.Getpid(), Secrets: cfg.Secrets, Check: s.trial}
	begin.Quiet, begin.Workers = s.status.Quiet, new(s.status.Workers)
	s.mu.Unlock()
	begin.Again = s.g.hasWorked()
	if o := s.g.Operation(); o.Number > 0 {
		begin.Operation = &o
	}
	go l.wait()
	go l.listen()
	if err := p.write(message{Start: begin}); errors.Is(err, errLong) { // one that is dead already is seen by wait
		_ = process.Kill()
		<-l.exited
		return nil, fmt.Errorf("its secrets are too long for it: %w", err)
	}
	return l, nil
}

// bury ends what was left of a life: the programs that the child had started.
func (s *slot) bury(l *life) {
	if n := killSession(l.pid); n > 0 {
		s.g.log.Warn().Int("process", s.number).Int("programs", n).Msg("killed what the process had started")
	}
	l.awaitRead()
	s.mu.Lock()
	report := l.status.Report
	if s.life == l {
		s.life = nil
		s.status.Ready, s.status.Healthy, s.status.Report = 0, false, supervisor.Report{}
	}
	s.mu.Unlock()
	if l.end != nil {
		report = l.end.Report
	}
	if s.trial {
		return
	}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.report.Processes++
	s.g.report.Report = plus(s.g.report.Report, report)
}

func (g *Guardian) hasWorked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.worked
}

func (g *Guardian) stopping() bool {
	for _, s := range g.slots {
		if _, retired := s.state(); !retired {
			return false
		}
	}
	return true
}

var errGone = errors.New("the process ended meanwhile")

// parse returns the incarnation of that name, if it is one.
func parse(name string) (membership.Incarnation, bool) {
	i, err := membership.Parse(name)
	return i, err == nil
}
