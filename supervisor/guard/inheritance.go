package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/worker/builtin"
)

// StateVariable marks the environment of a program that takes the place of a guardian, in its process;
// its value is the number of the file with the state. It is no setting.
const StateVariable = "STELLAR_GUARDIAN_STATE"

// state is what a guardian leaves to the program that takes its place, in a file without a name. A program
// reads that of its own version only, which [Guardian.try] has made sure of.
type state struct {
	Version   int               `json:"v"`
	Began     time.Time         `json:"began"`
	Operation builtin.Operation `json:"operation"`
	Report    Report            `json:"report"`
	Slots     []slotState       `json:"slots"`
	Owed      []lifeState       `json:"owed"`
	Files     map[string]int    `json:"files"` // their numbers
	Secrets   map[string]string `json:"secrets"`
}

type slotState struct {
	Retired bool       `json:"retired"`
	Told    bool       `json:"told"`
	Status  Status     `json:"status"`
	Life    *lifeState `json:"life"` // nil between two lives
}

type lifeState struct {
	Slot      int       `json:"slot"`
	PID       int       `json:"pid"`
	Launch    string    `json:"launch"`
	Began     time.Time `json:"began"`
	Pipe      int       `json:"pipe"`  // the number of the file
	Ahead     []byte    `json:"ahead"` // read from it, and not understood yet
	Orders    int       `json:"orders"`
	Abandoned []string  `json:"abandoned"`
}

// Inheritance is what the guardian has left in whose place this program runs.
type Inheritance struct{ state state }

// Inherit reads what a guardian has left; value is that of [StateVariable].
func Inherit(value string) (*Inheritance, error) {
	number, err := strconv.Atoi(value)
	if err != nil || number < 3 {
		return nil, fmt.Errorf("%s: %q is not the number of a file: this variable is set by a guardian only, unset it", StateVariable, value)
	}
	closeOnExec(number)
	f := os.NewFile(uintptr(number), "state")
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxState))
	err = errors.Join(err, f.Close())
	i := &Inheritance{}
	if err == nil {
		err = json.Unmarshal(text, &i.state) //nolint:musttag // both ends are this program
	}
	if err == nil && i.state.Version != version {
		err = errVersion
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", StateVariable, err)
	}
	for _, fd := range i.state.descriptors() {
		closeOnExec(fd)
	}
	return i, nil
}

// maxState is the size of the longest state, in bytes.
const maxState = MaxProcesses * 2 * maxMessage

// descriptors returns the numbers of all files.
func (s *state) descriptors() (all []int) {
	all = slices.Collect(maps.Values(s.Files))
	for _, one := range s.Slots {
		if one.Life != nil {
			all = append(all, one.Life.Pipe)
		}
	}
	return all
}

// Secrets returns the environment variables that the guardian had and this process has not.
func (i *Inheritance) Secrets() map[string]string { return i.state.Secrets }

// File returns the file of that name of those of Config.Leave; nil if there is none. The caller closes it.
func (i *Inheritance) File(name string) *os.File {
	if i == nil {
		return nil
	}
	fd, ok := i.state.Files[name]
	if !ok {
		return nil
	}
	delete(i.state.Files, name)
	return os.NewFile(uintptr(fd), name)
}

// Close closes the files that were not asked for.
func (i *Inheritance) Close() {
	if i == nil {
		return
	}
	for name := range i.state.Files {
		_ = i.File(name).Close()
	}
}

// exec replaces the program of this process by the new one. It returns only if that failed; then all is
// as before.
func (g *Guardian) exec(ctx context.Context) error {
	files, back := map[string]*os.File{}, func() {}
	if g.cfg.Leave != nil {
		files, back = g.cfg.Leave()
	}
	defer back()
	var lives []*life
	defer func() {
		for _, l := range lives {
			l.goOn()
		}
	}()
	st := state{Version: version, Files: map[string]int{}, Secrets: g.cfg.Secrets}
	g.dismissed.Wait() // for a bounded time
	for _, s := range g.slots {
		one, l := s.freeze()
		if l != nil {
			lives = append(lives, l)
		}
		st.Slots = append(st.Slots, one)
	}
	g.mu.Lock()
	st.Began, st.Operation, st.Report = g.began, g.operation, g.report
	for _, l := range g.owed {
		st.Owed = append(st.Owed, l.record())
	}
	g.mu.Unlock()
	for name, f := range files {
		fd, err := descriptor(f)
		if err != nil {
			return err
		}
		st.Files[name] = fd
	}
	text, err := json.Marshal(st) //nolint:musttag // both ends are this program
	if err != nil {
		return err
	}
	f, err := nameless(text)
	if err != nil {
		return fmt.Errorf("a file for the state: %w", err)
	}
	defer f.Close()
	fd, err := descriptor(f)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	g.log.Info().Int("pid", os.Getpid()).Str("program", g.cfg.Path).Msg("the guardian replaces itself by the new program")
	return g.starter.exec(g.cfg.Path, g.cfg.Args, append(slices.Clip(g.cfg.OwnEnvironment), StateVariable+"="+strconv.Itoa(fd)),
		append(st.descriptors(), fd))
}

// freeze returns the state of the slot, and its present life, from which nothing is read and to which nothing is
// written until goOn is called.
func (s *slot) freeze() (st slotState, l *life) {
	if l = s.present(); l != nil && !l.freeze() {
		l = nil // it is dead, and noted as owed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st = slotState{Retired: s.retired, Told: s.told, Status: s.status}
	if l != nil {
		one := l.record()
		fd, err := descriptor(l.pipe.conn)
		if err == nil {
			one.Pipe = fd
			st.Life = &one
		}
	}
	return st, l
}

// freeze stops what reads and writes the life's pipe. It returns false for one that is dead.
func (l *life) freeze() bool {
	_ = l.pipe.conn.SetReadDeadline(time.Unix(1, 0))
	select {
	case <-l.frozen:
	case <-l.read:
		select {
		case <-l.over:
		case <-time.After(readTime): // it is alive, and will see its end of the pipe closed
		}
		return false
	}
	l.mu.Lock()
	l.pipe.mu.Lock() // no line is cut off
	return true
}

// goOn ends what freeze has begun.
func (l *life) goOn() {
	l.pipe.mu.Unlock()
	l.mu.Unlock()
	_ = l.pipe.conn.SetReadDeadline(time.Time{})
	l.thaw <- struct{}{}
}

// record returns what another program has to know of a life from which nothing is read at present.
func (l *life) record() lifeState {
	st := lifeState{Slot: l.slot.number, PID: l.pid, Launch: l.launch, Began: l.began, Ahead: slices.Clone(l.pipe.ahead), Orders: l.orders}
	for _, i := range l.abandoned {
		st.Abandoned = append(st.Abandoned, i.String())
	}
	return st
}

// owe notes that what a dead life owned is to be handed over, paid that it is.
func (g *Guardian) owe(l *life) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owed = append(g.owed, l)
}

func (g *Guardian) paid(l *life) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owed = slices.DeleteFunc(g.owed, func(o *life) bool { return o == l })
}

// take makes the guardian what the one was whose place it takes. Children beyond its own number drain.
func (g *Guardian) take(i *Inheritance) error {
	g.began, g.operation, g.report, g.worked = i.state.Began, i.state.Operation, i.state.Report, true
	for n, st := range i.state.Slots {
		if n == len(g.slots) {
			g.slots = append(g.slots, newSlot(g, n))
		}
		s := g.slots[n]
		s.told, s.status, s.retired = st.Told, st.Status, st.Retired
		s.once.Do(func() { close(s.first) })
		if st.Life == nil {
			continue
		}
		l, err := st.Life.life(s)
		if err != nil {
			return fmt.Errorf("process %d: %w", n, err)
		}
		l.told, l.status = st.Told, st.Status
		s.life = l
	}
	for _, st := range i.state.Owed {
		if st.Slot < len(g.slots) {
			l, err := st.life(g.slots[st.Slot])
			if err != nil {
				return err
			}
			g.owed = append(g.owed, l)
		}
	}
	return nil
}

// life returns the life that the state is of. One without a pipe is dead.
func (st *lifeState) life(s *slot) (l *life, err error) {
	var p *pipe
	if st.Pipe > 0 {
		if p, err = newPipe(os.NewFile(uintptr(st.Pipe), "child")); err != nil {
			return nil, err
		}
		p.ahead = st.Ahead
	}
	process, err := os.FindProcess(st.PID)
	if err != nil {
		return nil, err
	}
	l = newLife(s, process, p)
	l.launch, l.began, l.orders = st.Launch, st.Began, st.Orders
	for _, name := range st.Abandoned {
		if i, ok := parse(name); ok {
			l.abandoned = append(l.abandoned, i)
		}
	}
	return l, nil
}

// goOn finishes the operation in which the guardian has taken the place of another one, and settles
// what that one had not.
func (g *Guardian) goOn(settling context.Context) {
	g.mu.Lock()
	owed := slices.Clone(g.owed)
	ctx := g.serving
	g.operations.Add(1)
	g.mu.Unlock()
	for _, l := range owed {
		killSession(l.pid)
		l.slot.settle(settling, l)
	}
	g.log.Info().Int("pid", os.Getpid()).Str("program", g.cfg.Path).Msg("the new program goes on as the guardian")
	go func() {
		defer g.operations.Done()
		g.endOperation(g.awaitReady(ctx))
	}()
}
