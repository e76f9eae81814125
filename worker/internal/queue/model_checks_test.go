package queue

import (
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// keptIn returns the list of a task whose record is kept, or the empty string.
func keptIn(record string) string {
	r, _ := ParseRecord(record)
	if r.Kept.IsZero() {
		return ""
	}
	return "retained:" + strconv.FormatInt(r.Kept.UnixMilli(), 16)
}

// checkPlaces walks all places: each task is in exactly one (P5).
func (m *machine) checkPlaces(got stored) {
	places := map[string][]string{}
	for name, content := range got {
		group, _, _ := strings.Cut(name, ":")
		switch {
		case group == "retained": // of tasks that have been deleted too, and then perhaps of others of that id
			for _, id := range content {
				if keptIn(got["tasks"][id]) == name {
					places[id] = []string{"done"}
				}
			}
		case storedKind(m.t, name) == "list":
			for _, id := range content {
				places[id] = append(places[id], name)
			}
		case group == "delayed" || group == "owned" || name == "blocked" || name == "dead" || name == "cancelled" || name == "done":
			for id := range content {
				if name != "done" || keptIn(got["tasks"][id]) == "" { // it may remember the id for longer
					places[id] = append(places[id], name)
				}
			}
		}
	}
	for id := range got["tasks"] {
		require.Len(m.t, places[id], 1, "task %s is in %v", id, places[id])
	}
	for id, in := range places {
		require.True(m.t, slices.Equal(in, []string{"done"}) || got["tasks"][id] != "", "%v holds %s, which is not stored", in, id)
	}
	m.checkCounts(got, places)
}

// checkCounts: what came in is in one of the places, or its end was counted.
func (m *machine) checkCounts(got stored, places map[string][]string) {
	queueOf := map[string]string{}
	for id, record := range got["tasks"] {
		r, _ := ParseRecord(record)
		queueOf[id] = r.Queue()
	}
	here, active := map[string]int{}, map[string]int{}
	for id, queue := range queueOf {
		if places[id][0] != "done" {
			here[queue]++
		}
	}
	for name, content := range got {
		if strings.HasPrefix(name, "owned:") {
			for id := range content {
				active[queueOf[id]]++
			}
		}
	}
	for _, queue := range modelQueues {
		ended := m.spec.Stats[queue+"|done"] + m.spec.Stats[queue+"|deleted"] + m.spec.Stats[queue+"|dropped"]
		require.Equal(m.t, m.spec.Stats[queue+"|enqueued"], ended+here[queue], "tasks of %s", queue)
		counted, _ := strconv.Atoi(got["active"][queue])
		require.Equal(m.t, active[queue], counted, "running tasks of %s", queue)
	}
}

// checkFollowers: whoever waits is known to whom it waits for, and only tasks
// that can still end have followers.
func (m *machine) checkFollowers(got stored) {
	for _, t := range m.spec.Tasks {
		for other := range t.Waits {
			require.Contains(m.t, strings.Fields(got["followers"][other]), t.ID)
		}
	}
	for id := range got["followers"] {
		t := m.spec.Tasks[id]
		require.True(m.t, t != nil && t.State != stateDone && t.State != stateCancelled, "%s has ended and has followers", id)
	}
}
