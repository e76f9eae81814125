package queue

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
)

// stepScript is what actors note steps with.
var stepScript = newStepScript(cache.New(cache.Config{}))

// noting is a request that an actor has sent.
type noting struct {
	of      Claimed
	before  int // how many notes the run had sent
	note    Note
	effects []Effect
}

// specSteps is what a task's runs have noted.
type specSteps struct {
	Fields map[string]string // of the hash steps:<id>, without the last note
	Run    string            // of the last note
	Number int               // of it, in this run; 0: there is none
}

func (n specSteps) bytes() (sum int64) {
	for field, value := range n.Fields {
		sum += int64(len(field) + len(value))
	}
	return sum
}

func (n specSteps) render(out stored, id string) {
	if n.Number == 0 {
		return
	}
	out.put("steps", id, strconv.FormatInt(n.bytes(), 10))
	out.put("steps:"+id, "#", n.Run+"|"+strconv.Itoa(n.Number))
	for field, value := range n.Fields {
		out.put("steps:"+id, field, value)
	}
}

// note has an actor note a step of a task that it believes to have in hand.
func (m *machine) note() {
	a := m.actor()
	if a == nil || len(a.hand) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(a.hand))
	c := a.hand[ids[m.draw("which", len(ids))]]
	n := Note{Kind: []NoteKind{StepNote, SleepNote, StateNote}[m.draw("kind", 3)], Value: m.draw("value", 300)}
	if n.Kind != StateNote {
		n.Place = 1 + m.draw("place", 3)
		n.Name = fmt.Sprintf("%s %d", n.Kind, n.Place)
	}
	o := &Run{}
	if m.draw("with effects", 2) == 1 {
		m.effects(o)
	}
	m.noteAs(a, c, n, o.outcome.effects)
}

func (m *machine) noteAs(a *actor, c Claimed, n Note, effects []Effect) {
	key := fmt.Sprintf("%s|%d", c.ID, c.Claim)
	sent := noting{c, a.noted[key], n, effects}
	a.noted[key]++
	a.notes = append(a.notes, sent)
	m.sendNote(a, sent)
}

// noteAgain is a note whose reply was lost, or that was on its way for long.
func (m *machine) noteAgain() {
	if a := m.actor(); a != nil && len(a.notes) > 0 {
		m.sendNote(a, a.notes[len(a.notes)-1-m.draw("back", min(3, len(a.notes)))])
	}
}

func (m *machine) sendNote(a *actor, sent noting) {
	run := &Run{Claimed: sent.of, Node: &Node{Incarnation: a.name, Cache: m.cache}, noted: sent.before}
	until, err := m.store.Note(m.ctx, run, sent.note, slices.Clone(sent.effects))
	till, refused, fenced := m.spec.noted(a.name, run, sent.note, sent.effects)
	switch {
	case fenced:
		require.ErrorIs(m.t, err, ErrFenced)
	case refused:
		require.ErrorIs(m.t, err, ErrRefused)
		m.settled(bodiesIn(sent.effects))
	default:
		require.NoError(m.t, err)
		if sent.note.Kind == SleepNote {
			require.Equal(m.t, till, until.UnixMilli())
		} else {
			require.Zero(m.t, until)
		}
	}
	m.checkEffects()
	m.checkSteps(run.ID)
}

// checkSteps: what a run reads is what was noted.
func (m *machine) checkSteps(id string) {
	got, err := m.store.Steps(m.ctx, id)
	require.NoError(m.t, err)
	want := &Steps{}
	if t := m.spec.Tasks[id]; t != nil {
		want = parseSteps(t.Steps.Fields)
	}
	require.Equal(m.t, want, got)
}

// noted notes something, unless it was noted before.
func (s *spec) noted(name string, r *Run, n Note, effects []Effect) (till int64, refused, fenced bool) {
	t := s.Tasks[r.ID]
	if s.incarnation(name).Deadline <= 0 || t == nil || t.State != stateActive || t.Owner != name || t.Claim != r.Claim {
		return 0, false, true
	}
	field, run := "."+n.Name, name+"|"+strconv.FormatUint(r.Claim, 10)
	if n.Kind == StateNote {
		field = "="
	}
	if t.Steps.Run == run && t.Steps.Number >= r.noted {
		if n.Kind == SleepNote {
			till = parseSteps(map[string]string{field: t.Steps.Fields[field]}).Ended[0].Until.UnixMilli()
		}
		return till, false, false
	}
	if refuses(effects) {
		return 0, true, false
	}
	value := fmt.Sprintf("%d|%v", s.Now, n.Value)
	if n.Kind == SleepNote {
		till = s.Now + int64(n.Value.(int))
		value = fmt.Sprintf("%d|until|%d", s.Now, till)
	}
	if n.Kind != StateNote {
		value = fmt.Sprintf("%d|%s", n.Place, value)
	}
	if t.Steps.Fields == nil {
		t.Steps.Fields = map[string]string{}
	}
	t.Steps.Fields[field], t.Steps.Run, t.Steps.Number = value, run, r.noted
	s.apply(effects)
	return till, false, false
}
