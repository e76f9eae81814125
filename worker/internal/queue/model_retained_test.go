package queue

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// specRetained are the tasks whose records are kept: the ids in each list, by its time. Those of
// tasks that were deleted are still there. Due has the times that movers know.
type specRetained struct {
	Lists map[string][]string
	Due   map[string]bool
}

// retain keeps the record of a task that a node has done.
func (s *spec) retain(t *specTask, keep int64, node string) {
	step := int64(1)
	for step*128 <= keep {
		step *= 2
	}
	t.Retained = (s.Now + keep + step - 1) / step * step
	list := strconv.FormatInt(t.Retained, 16)
	f := strings.SplitN(t.Record, "|", 4)
	f[2] += "+" + list + "+" + strconv.FormatInt(s.Now, 16) + "+" + node[:strings.LastIndex(node, ":")]
	t.Record = strings.Join(f, "|")
	s.Retained.Lists[list] = append(s.Retained.Lists[list], t.ID)
	s.Retained.Due[list] = true
}

func (r *specRetained) render(out stored) {
	for list, ids := range r.Lists {
		out.list("retained:"+list, ids)
	}
	for list := range r.Due {
		till, _ := strconv.ParseInt(list, 16, 64)
		out.put("retained", list, strconv.FormatInt(till, 10))
	}
}

// forgetRetained forgets the tasks whose records are kept no longer, and reports whether that is all.
func (s *spec) forgetRetained(most int) (all bool) {
	for _, list := range slices.Sorted(maps.Keys(s.Retained.Due)) {
		till, _ := strconv.ParseInt(list, 16, 64)
		if till > s.Now {
			return true
		}
		ids := s.Retained.Lists[list]
		n := min(len(ids), most)
		s.Retained.Lists[list], most = ids[n:], most-n
		for _, id := range ids[:n] {
			if t := s.Tasks[id]; t != nil && t.Retained == till {
				s.unretain(t)
			}
		}
		if most == 0 {
			return false
		}
		delete(s.Retained.Due, list)
	}
	return true
}

// unretain forgets the record of a task.
func (s *spec) unretain(t *specTask) {
	t.Record, t.Retained, t.Kept, t.Result, t.Past, t.Tries = "", 0, 0, "", "", ""
	if t.Until == 0 {
		delete(s.Tasks, t.ID)
	}
}

// remembered returns until when a done task is remembered.
func (t *specTask) remembered() int64 { return max(t.Until, t.Retained) }

// age has a task be kept as an older program would have kept it.
func (m *machine) age() {
	id := m.task()
	if t := m.spec.Tasks[id]; t != nil && t.Retained > 0 {
		m.ageTask(t)
	}
}

func (m *machine) ageAll() {
	for _, t := range m.spec.Tasks {
		if t.Retained > 0 {
			m.step(func() { m.ageTask(t) })
		}
	}
}

func (m *machine) ageTask(t *specTask) {
	r, err := ParseRecord(t.Record)
	require.NoError(m.t, err)
	f := strings.SplitN(t.Record, "|", 4)
	f[2], _, _ = strings.Cut(f[2], "+")
	t.Record = strings.Join(f, "|")
	if t.Past == "" {
		t.Past = strconv.FormatInt(r.Ended.UnixMilli(), 10) + "|done\n"
	}
	if t.Until == 0 {
		t.Until = t.Retained
	}
	t.Kept, t.Retained = t.Retained, 0
	past := strings.ReplaceAll(t.Past, "\n", "|{}\n")
	p := m.redis.TxPipeline()
	p.HSet(m.ctx, m.keys.Tasks(), t.ID, t.Record)
	p.HSet(m.ctx, m.keys.History(), t.ID, strings.Replace(past, "|done|{}\n", `|done|{"node":"`+r.Node+`"}`+"\n", 1))
	p.ZAdd(m.ctx, m.keys.Done(), redis.Z{Score: float64(t.Until), Member: t.ID})
	if kept := t.keptAlone(); kept > 0 {
		p.ZAdd(m.ctx, m.keys.Kept(), redis.Z{Score: float64(kept), Member: t.ID})
	}
	_, err = p.Exec(m.ctx)
	require.NoError(m.t, err)
}
