package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
	Values map[string]string // of the hash stepped:<id>
	Run    string            // of the last note
	Number int               // of it, in this run; 0: there is none
}

func (n specSteps) bytes() (sum int64) {
	for field, value := range n.Fields {
		sum += int64(len(field) + len(value) + len(n.Values[field]))
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
	for field, value := range n.Values {
		out.put("stepped:"+id, field, value)
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
	n := Note{Kind: []NoteKind{StepNote, SleepNote, StateNote}[m.draw("kind", 3)], Place: 1 + 2*m.draw("place", 3), Value: m.draw("value", 300)}
	if n.Kind == SleepNote {
		n.Place, n.Value = n.Place+1, 20*n.Value.(int)
	}
	if n.Kind != StateNote {
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
	until, ends, err := m.store.Note(m.ctx, run, sent.note, slices.Clone(sent.effects))
	report(m.onEnd, ends)
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
	t := m.spec.Tasks[id]
	if t != nil {
		want = parseSteps(t.Steps.Fields)
	}
	require.Equal(m.t, want, got)
	for i := range got.Ended {
		if step := &got.Ended[i]; step.Until.IsZero() {
			result, err := m.store.StepResult(m.ctx, id, got, step)
			require.NoError(m.t, err)
			require.Equal(m.t, t.Steps.Values[stepMark+step.Name], string(result))
		}
	}
	if !got.State.At.IsZero() {
		state, err := m.store.StepState(m.ctx, id)
		require.NoError(m.t, err)
		require.Equal(m.t, t.Steps.Values[stateField], string(state))
	}
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
	if t.Steps.Fields == nil {
		t.Steps.Fields, t.Steps.Values = map[string]string{}, map[string]string{}
	}
	text := fmt.Sprint(n.Value)
	if n.Kind == SleepNote {
		till = s.Now + int64(n.Value.(int))
		t.Steps.Fields[field] = fmt.Sprintf("%d|%d|until|%d", n.Place, s.Now, till)
	} else {
		t.Steps.Fields[field], t.Steps.Values[field] = fmt.Sprintf("%d|%d|%d", n.Place, s.Now, len(text)), text
	}
	t.Steps.Run, t.Steps.Number = run, r.noted
	if tries := ParseTries(t.Tries); tries.Crashes > 0 && (n.Kind != StateNote || r.noted > 1) {
		tries.Crashes = 0
		t.Tries = tries.String()
	}
	s.apply(effects)
	return till, false, false
}

// rerun has a task forget a step that it has, or one that it has not, or all.
func (m *machine) rerun() {
	id, name := m.task(), ""
	if t := m.spec.Tasks[id]; t != nil && m.draw("from a step", 4) > 0 {
		name = []string{"step 1", "step 3", "step 5", "sleep 2", "sleep 6"}[m.draw("which", 5)]
		if steps := parseSteps(t.Steps.Fields).Ended; len(steps) > 0 && m.draw("one that it has", 4) > 0 {
			name = steps[m.draw("of its steps", len(steps))].Name
		}
	}
	m.rerunFrom(id, name)
}

func (m *machine) rerunFrom(id, name string) {
	word, err := m.store.Rerun(m.ctx, id, name)
	require.NoError(m.t, err)
	require.Equal(m.t, m.spec.rerun(id, name), word, "rerun of %s from %q", id, name)
	m.checkSteps(id)
}

func (s *spec) rerun(id, name string) string {
	t := s.Tasks[id]
	switch {
	case t == nil:
		return Gone
	case t.State == stateDone:
		return "already done"
	case t.State == stateActive:
		return "active"
	}
	from := 0
	if name != "" {
		text, has := t.Steps.Fields[stepMark+name]
		if !has {
			return "unknown"
		}
		step, _ := parseStep(text)
		from = step.Place
	}
	if (t.State == stateDead || t.State == stateCancelled) && s.retry(t) == "taken" {
		return "taken"
	}
	fields := slices.Collect(maps.Keys(t.Steps.Fields))
	slices.SortFunc(fields, func(a, b string) int {
		x, _ := parseStep(t.Steps.Fields[a])
		y, _ := parseStep(t.Steps.Fields[b])
		return cmp.Or(cmp.Compare(x.Place, y.Place), strings.Compare(a, b))
	})
	for at, field := range fields {
		step, _ := parseStep(t.Steps.Fields[field])
		if step.Place < from {
			continue
		}
		if at >= len(fields)-8 {
			what := "step"
			if field == stateField {
				what = "checkpoint"
			} else if !step.Until.IsZero() {
				what = "sleep"
			}
			t.Past += fmt.Sprintf("%d|%s\n", step.At.UnixMilli(), what)
		}
		delete(t.Steps.Fields, field)
		delete(t.Steps.Values, field)
	}
	if len(t.Steps.Fields) == 0 {
		t.Steps = specSteps{}
	}
	s.dueNow(t)
	s.note(t, "rerun")
	return "rerun"
}

// dueNow puts a delayed task into its line.
func (s *spec) dueNow(t *specTask) {
	if t.State == stateDelayed {
		t.Due = 0
		s.push(t)
		s.touched[t.queue()] = true
	}
}

// wakes changes when a step that sleeps is over.
func (s *spec) wakes(t *specTask, at int64) {
	steps := parseSteps(t.Steps.Fields).Ended
	var last Step
	for _, step := range steps {
		if step.Place > last.Place {
			last = step
		}
	}
	if last.Until.UnixMilli() > s.Now {
		t.Steps.Fields[stepMark+last.Name] = fmt.Sprintf("%d|%d|until|%d", last.Place, last.At.UnixMilli(), max(at, s.Now))
	}
}
