package tasks

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/internal/queue"
	"github.com/stellarfw/stellar/worker/membership"
)

// DefaultSnapshotAge is how old a snapshot is at most that nobody looks at: see [Inspector.Snapshot].
const DefaultSnapshotAge = 5 * time.Second

// MaxSnapshotQueues is how many queues a snapshot has at most.
const MaxSnapshotQueues = queue.MaxSurveyed

// Snapshot is the state of a whole cluster at about one time. All processes share it.
type Snapshot struct {
	// At is when it was taken, and Now when it was read, both on Redis's clock.
	At  time.Time `json:"at"`
	Now time.Time `json:"-"`

	// Queues are the queues that were ever used, by name: at most [MaxSnapshotQueues], of which
	// those with tasks come first. QueuesUsed is how many there are.
	Queues     []QueueState `json:"queues"`
	QueuesUsed int          `json:"queuesUsed"`
	// Tasks of all queues that wait for other tasks, or have ended so.
	Blocked   int64 `json:"blocked"`
	Dead      int64 `json:"dead"`
	Cancelled int64 `json:"cancelled"`

	Nodes    []NodeState     `json:"nodes"`
	Periodic []PeriodicState `json:"periodic"`

	// Errors has the parts that could not be read, and why. Their fields are those of the snapshot before, or empty.
	Errors map[SnapshotPart]string `json:"errors,omitempty"`

	// When the nodes and the claimers were read: those of hundreds of nodes less often than the rest.
	NodesAt    time.Time `json:"nodesAt"`
	ClaimersAt time.Time `json:"claimersAt"`
	// Last is the queue that was looked at last, for the next snapshot: of more than some hundred queues with tasks
	// each snapshot looks at some.
	Last string `json:"last,omitempty"`
}

// SnapshotPart is a part of a snapshot that is read by itself.
type SnapshotPart string

// The parts of a [Snapshot].
const (
	PartQueues   SnapshotPart = "queues"   // what waits
	PartSettings SnapshotPart = "settings" // what is set for queues, and what runs of them
	PartTotals   SnapshotPart = "totals"
	PartNodes    SnapshotPart = "nodes"
	PartClaimers SnapshotPart = "claimers"
	PartPeriodic SnapshotPart = "periodic"
)

// SnapshotParts returns all parts.
func SnapshotParts() []SnapshotPart {
	return []SnapshotPart{PartQueues, PartSettings, PartTotals, PartNodes, PartClaimers, PartPeriodic}
}

// QueueState is the state of a queue in a [Snapshot].
type QueueState struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused,omitempty"`
	Limits Limits `json:"limits,omitzero"`

	Pending int64 `json:"pending,omitempty"` // tasks in its lines and in those of its groups; parked ones are not among them
	Urgent  int64 `json:"urgent,omitempty"`  // of Pending, without tasks of groups
	Low     int64 `json:"low,omitempty"`     // likewise
	Grouped int64 `json:"grouped,omitempty"` // of Pending: those of groups
	Groups  int64 `json:"groups,omitempty"`  // groups with pending tasks
	Parked  int64 `json:"parked,omitempty"`
	Delayed int64 `json:"delayed,omitempty"`
	Active  int64 `json:"active,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"` // while there is a limit on bytes

	// Oldest is when the task that is claimed next was stored, as of [Queue]; zero if none waits.
	Oldest time.Time `json:"oldest,omitzero"`
	// RestsUntil is until when no task begins, as a handler asked with [Throttle], and NextStart when
	// its rate lets the next task begin; zero for now.
	RestsUntil time.Time `json:"restsUntil,omitzero"`
	NextStart  time.Time `json:"nextStart,omitzero"`

	// Claimers are the live nodes that claim from the queue, and Quiet those that serve it and do not.
	Claimers int `json:"claimers,omitempty"`
	Quiet    int `json:"quiet,omitempty"`

	// As of [Queue].
	Throughput float64       `json:"throughput,omitempty"`
	Wait       time.Duration `json:"wait,omitempty"`
	Run        time.Duration `json:"run,omitempty"`
	Ever       Totals        `json:"ever,omitzero"`

	LookedAt time.Time `json:"lookedAt,omitzero"` // when what waits in it was counted; see [Snapshot].Last
}

// Age returns for how long the task that is claimed next has been stored, 0 if none waits.
func (q QueueState) Age(now time.Time) time.Duration {
	if q.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(q.Oldest))
}

// NodeState is the state of a node in a [Snapshot].
type NodeState struct {
	ID          string           `json:"id"`
	Incarnation string           `json:"incarnation"`
	Host        string           `json:"host"`
	PID         int              `json:"pid"`
	Program     string           `json:"program,omitempty"`
	Version     string           `json:"version,omitempty"`
	State       membership.State `json:"state"`           // as its member record has it
	Live        bool             `json:"live"`            // its lease has not run out
	Quiet       bool             `json:"quiet,omitempty"` // it claims no tasks
	InHand      int              `json:"inHand"`          // tasks
	Slots       int              `json:"slots"`           // tasks that it runs at a time; 0: not known
	Since       time.Time        `json:"since"`           // when it joined
}

// PeriodicState is the state of a periodic task in a [Snapshot], as of [PeriodicInfo].
type PeriodicState struct {
	Name     string    `json:"name"`
	Task     string    `json:"task"`
	Queue    string    `json:"queue"`
	Last     time.Time `json:"last,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Paused   bool      `json:"paused,omitempty"`
	Orphaned bool      `json:"orphaned,omitempty"`
}

// Snapshot returns the state of the cluster, not older than age; 0 is [DefaultSnapshotAge]. All processes share
// one that is kept on Redis, so that it costs the same however many ask; the first that finds it too old takes
// the next. A screen that somebody looks at asks for one of a second.
//
// Of more than some hundred queues that have tasks a snapshot looks at some, and the next at others;
// [QueueState].LookedAt says when. A part that fails leaves the others standing: see [Snapshot].Errors. The
// error says that there is no snapshot at all.
func (i *Inspector) Snapshot(ctx context.Context, age time.Duration) (Snapshot, error) {
	if age <= 0 {
		age = DefaultSnapshotAge
	}
	const tries, pause = 40, 50 * time.Millisecond // while another takes the first one
	for try := 1; ; try++ {
		found, err := i.store.Kept(ctx, age)
		if err != nil {
			return Snapshot{}, fmt.Errorf("snapshot: %w", err)
		}
		kept, readable := unpackSnapshot(found.Text)
		if readable && !found.Take {
			kept.Now = found.Now
			return kept, nil
		}
		if found.Take || try == tries {
			return i.takeSnapshot(ctx, kept, age)
		}
		if err := link.Sleep(ctx, pause); err != nil {
			return Snapshot{}, fmt.Errorf("snapshot: %w", err)
		}
	}
}

// takeSnapshot takes the snapshot after the one before, and keeps it.
func (i *Inspector) takeSnapshot(ctx context.Context, before Snapshot, age time.Duration) (Snapshot, error) {
	s := before
	s.Errors = nil
	failed := map[SnapshotPart]error{}
	failed[PartQueues] = i.surveyQueues(ctx, &s)
	if err := failed[PartQueues]; link.IsOutage(err) || ctx.Err() != nil {
		return Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	failed[PartSettings] = i.surveySettings(ctx, &s)
	failed[PartTotals] = i.surveyTotals(ctx, &s)
	failed[PartNodes] = i.surveyNodes(ctx, &s, age)
	failed[PartClaimers] = i.surveyClaimers(ctx, &s, age)
	failed[PartPeriodic] = i.surveyPeriodic(ctx, &s)
	for part, err := range failed {
		if err != nil {
			if s.Errors == nil {
				s.Errors = map[SnapshotPart]string{}
			}
			s.Errors[part] = link.Explain(err).Error()
		}
	}
	if s.At.IsZero() || s.At.Equal(before.At) { // the survey failed: the others have their own time
		now, err := i.redis.Time(ctx).Result()
		if err != nil {
			return Snapshot{}, fmt.Errorf("snapshot: %w", link.Explain(err))
		}
		s.At = now
	}
	s.Now = s.At
	text, err := s.pack()
	if err == nil {
		err = i.store.Keep(ctx, s.At, text)
	}
	if link.IsOutage(err) {
		return Snapshot{}, fmt.Errorf("snapshot: %w", err)
	}
	return s, nil // one that could not be kept, such as at maxmemory, is as good
}

// pack returns the snapshot as it is kept.
func (s *Snapshot) pack() (string, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err == nil {
		err = json.NewEncoder(w).Encode(s)
	}
	if err == nil {
		err = w.Close()
	}
	return packed.String(), err
}

// maxSnapshot bounds the JSON of a kept snapshot, in bytes.
const maxSnapshot = 16 << 20

// unpackSnapshot returns a kept snapshot. One that cannot be read, such as of another version of the program,
// counts as none.
func unpackSnapshot(text string) (s Snapshot, readable bool) {
	if text == "" {
		return s, false
	}
	r := flate.NewReader(strings.NewReader(text))
	defer func() { _ = r.Close() }()
	if err := json.NewDecoder(io.LimitReader(r, maxSnapshot)).Decode(&s); err != nil || s.At.IsZero() {
		return Snapshot{}, false
	}
	return s, true
}
