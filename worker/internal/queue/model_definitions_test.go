package queue

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"
)

// specDefinition is a published definition: when it was last repeated, whose it is.
type specDefinition struct {
	Published

	Seen, By int64
}

// specDefinitions are all of them, the largest number of a publisher, and what names the last change.
type specDefinitions struct {
	All     map[string]specDefinition
	Largest int64
	Change  string
}

func (s specDefinitions) render(out stored) {
	if s.Largest == 0 {
		return
	}
	out.put("definitions", "|", strconv.FormatInt(s.Largest, 10)+"|"+s.Change)
	for name, d := range s.All {
		text, _ := json.Marshal(d.Definition)
		out.put("definitions", name, fmt.Sprintf("%d|%d|%s\n%s", d.Seen, d.By, text, d.Version))
	}
}

// publish has a process publish its definitions. Now and then it is a new one.
func (m *machine) publish() {
	p := &m.publishers[m.draw("publisher", 3)]
	if p.Definitions == nil || m.draw("starts anew", 4) == 0 {
		*p = Publication{Version: "v" + strconv.Itoa(m.draw("version", 3)), Definitions: map[string]Definition{}}
		for _, name := range []string{"t", "u"}[m.draw("names", 2):] {
			p.Definitions[name] = Definition{Queue: modelQueues[m.draw("queue", 2)], OnDead: []string{"", "u", "t"}[m.draw("hook", 3)]}
		}
	}
	m.publishAs(p)
}

func (m *machine) publishAs(p *Publication) {
	isNew := p.Number == 0
	others, err := m.store.Define(m.ctx, p)
	require.NoError(m.t, err)
	if isNew {
		require.Equal(m.t, m.spec.Definitions.Largest+1, p.Number)
	}
	require.Equal(m.t, m.spec.publish(p, isNew), others)
}

func (s *spec) publish(p *Publication, isNew bool) (others []Difference) {
	all, changed := &s.Definitions, false
	all.Largest = max(all.Largest, p.Number)
	if all.All == nil {
		all.All = map[string]specDefinition{}
	}
	for name, d := range all.All {
		if isNew && d.Seen+KeepDefinitions.Milliseconds() <= s.Now {
			delete(all.All, name)
			changed = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Definitions)) {
		mine := specDefinition{Published{p.Definitions[name], p.Version}, s.Now, p.Number}
		d, has := all.All[name]
		same, newer := has && d.Definition == mine.Definition, !has || p.Number >= d.By
		if has && !same {
			newer = newer || s.Now-d.Seen >= definitionPatience.Milliseconds()
			others = append(others, Difference{d.Published, name, newer})
		}
		switch {
		case !same && newer:
			changed = true
			all.All[name] = mine
		case same && p.Number > d.By:
			all.All[name] = mine
		case d.Seen > s.Now || same && s.Now-d.Seen >= definitionPatience.Milliseconds()/6:
			d.Seen = s.Now
			all.All[name] = d
		}
	}
	if changed {
		all.Change = fmt.Sprintf("%d %d", s.Now, p.Number)
	}
	return others
}

// learn reads the definitions, as a client that has read them before or not.
func (m *machine) learn() {
	if m.draw("anew", 2) == 0 {
		m.learned = ""
	}
	all, now, err := m.store.Definitions(m.ctx, m.learned)
	require.NoError(m.t, err)
	require.Equal(m.t, m.spec.Definitions.Change, now)
	if now != "" && now == m.learned {
		require.Nil(m.t, all)
		return
	}
	m.learned = now
	want := map[string]Published{}
	for name, d := range m.spec.Definitions.All {
		if d.Seen+KeepDefinitions.Milliseconds() > m.spec.Now {
			want[name] = d.Published
		}
	}
	require.Equal(m.t, want, all)
}
