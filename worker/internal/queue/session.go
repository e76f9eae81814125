package queue

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
)

// SessionConfig configures a [Session].
type SessionConfig struct {
	Redis       redis.UniversalClient // nothing else should use it
	Keys        link.Keys
	Incarnation string
	// Queues that are served, in their order or, with Weights, in an order drawn
	// for each claim in proportion to these. A queue without a weight has 1.
	Queues  []string
	Weights map[string]int
	// Handles reports whether the node handles tasks of that name.
	Handles func(task string) bool
	// Cache is where the effects of commits are written.
	Cache *cache.Cache
	// Reports logs requests that are repeated; nil: nothing does.
	Reports *link.Reports
}

// Session sends the numbered claims and commits of one incarnation, and notes its state
// on Redis. At most one request of each kind may be in flight. Claims and commits are
// repeated under their number until the answer is known or ctx ends.
type Session struct {
	cfg    SessionConfig
	ending *link.Script // lua/commit.lua

	list string // the stored list of the queues, "" of few queues: see lua/serve.lua

	claims, commits uint64
	lost            int      // how many tasks a claim wanted whose answer was lost; 0: none was
	others          int      // requests that are not worth a try of lua/work.lua
	idle            bool     // Redis wakes this node for the next task
	tends           bool     // Redis may hold that the node tends its queues
	confined        bool     // claims are for free slots alone
	gathers         string   // see Gather
	eager           bool     // see Gather
	parked          []string // "queue|name" of parked tasks that this node handles, as of the last claim
}

// NewSession returns a session that has claimed nothing.
func NewSession(c SessionConfig) *Session {
	s := &Session{cfg: c, ending: newCommitScript(c.Cache)}
	if len(c.Queues) > namedQueues {
		s.list = listOf(c)
	}
	return s
}

// Idle reports whether the last claim got fewer tasks than it wanted: then Redis wakes
// the node for the next task.
func (s *Session) Idle() bool { return s.idle }

// Tends reports whether the node tends its queues since the last claim: Redis wakes nobody for
// tasks that come, and the node has to claim again or resign in less than tendedFor.
func (s *Session) Tends() bool { return s.tends }

// Confined reports whether the node is to claim no more tasks than it has free slots: in one of its
// queues are some that have to begin when they are claimed.
func (s *Session) Confined() bool { return s.confined }

// Lost reports whether Redis may have given the node tasks in a claim whose answer was lost:
// the next claim gets them.
func (s *Session) Lost() bool { return s.lost > 0 }

// Parked reports whether the last claim found parked tasks that the node handles. The
// next claim takes them.
func (s *Session) Parked() bool { return len(s.parked) > 0 }

// Claimed is a task that an incarnation has claimed and owns.
type Claimed struct {
	ID        string
	Tries     Tries
	Record    Record
	Malformed error  // why the record cannot be read
	Clock     Clock  // of the claim
	Claim     uint64 // its number
}

// Clock pairs Redis's time with this process's time at the same moment.
type Clock struct{ redis, local time.Time }

// Now estimates Redis's current time. The estimate is behind by the time that the reply took.
func (c Clock) Now() time.Time { return c.redis.Add(time.Since(c.local)) }

// At converts a time of this process's clock to Redis's clock.
func (c Clock) At(local time.Time) time.Time { return c.redis.Add(local.Sub(c.local)) }

// Ask is what a claim asks for.
type Ask struct {
	Want   int  // tasks at most
	AtOnce int  // how many of them begin at once, the first ones, at most Want: tasks of groups and rates are only among these
	Tend   bool // the node is ready to tend its queues, see lua/work.lua
}

// Gathering is what a node gathers of tasks of one name for its next batch.
type Gathering struct {
	Name   string
	Number uint64 // of the batch, among all of the incarnation
	Tasks  int    // how many more
	Bytes  int    // of payloads: the task that reaches it is the last one
}

// Gather says what the next claims gather, beside the tasks that they want. eager: it is worth a
// request of its own. Otherwise a claim may take what is to be gathered for tasks like others.
func (s *Session) Gather(all []Gathering, eager bool) {
	s.gathers, s.eager = "", eager && len(all) > 0
	if len(all) == 0 {
		return
	}
	text := fmt.Appendf(nil, "~%d", QuarantineAfter-1)
	for _, g := range all {
		text = fmt.Appendf(text, " %s|%d|%d|%d", g.Name, g.Number, g.Tasks, g.Bytes)
	}
	s.gathers = string(text)
}

// Claim claims tasks for the incarnation. When it gets fewer than it wants, Redis counts the
// node as idle and wakes it for the next task. broken are keys of the wrong type: a queue
// with such a key gives no tasks, and if the key should list a queue's idle nodes, they
// are not woken and look for tasks only from time to time.
func (s *Session) Claim(ctx context.Context, a Ask) (got []Claimed, broken []string, err error) {
	plain := s.plain()
	s.claims++
	if plain {
		if got, broken, err = s.work(ctx, "", s.claims, a, nil, nil); err == nil {
			return got, broken, nil
		}
	}
	if s.lost > 0 { // Redis may have answered a claim under this number
		a.Want, s.lost = s.lost, 0
	}
	args := s.withOrder(s.cfg.Incarnation, s.claims, strconv.Itoa(a.Want)+s.gathers, a.AtOnce, flagOf(s.idle || s.tends))
	for _, list := range s.parked {
		args = append(args, list)
	}
	err = s.cfg.Reports.Insist(ctx, "claims", func(ctx context.Context) error {
		reply, err := claimScript.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
		if link.WordOf(err) == "UNKNOWN" {
			if err = s.storeList(ctx); err == nil {
				reply, err = claimScript.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
			}
		}
		if link.WordOf(err) == expiredWord {
			return errExpired // the next heartbeat renews it, or the node's own fence ends it
		}
		if err != nil {
			return err
		}
		got, broken, err = s.take(ctx, s.claims, reply)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("claim: %w", refusal(err))
	}
	return got, broken, nil
}

// claims is the answer to a claim. One allocation holds it all.
type claims struct {
	parked, broken      []string
	tried, ids, records []any // as they came: a copy of each would cost as much as the rest
	state               int   // 1: the node idles, 2: it tends its queues, 3: see Session.Confined
	now                 string
}

func (c *claims) scan(r link.Reply) error {
	return r.Scan(&c.parked, &c.broken, &c.tried, &c.ids, &c.records, &c.state, &c.now)
}

// take notes the answer to the claim of that number, and returns its tasks, whose bodies it reads, and the keys
// of the wrong type. After an error the same claim gets the same tasks.
func (s *Session) take(ctx context.Context, number uint64, reply link.Reply) (got []Claimed, broken []string, err error) {
	var answer claims
	if err := answer.scan(reply); err != nil {
		return nil, nil, err
	}
	got, err = parseClaimed(answer.tried, answer.ids, answer.records, Clock{Time(answer.now), time.Now()})
	if err == nil {
		err = s.readBodies(ctx, got)
	}
	if err != nil {
		return nil, nil, err
	}
	for i := range got {
		got[i].Claim = number
	}
	s.parked = slices.DeleteFunc(answer.parked, func(list string) bool {
		queue, name, _ := strings.Cut(list, "|")
		return !s.cfg.Handles(name) || !slices.Contains(s.cfg.Queues, queue)
	})
	s.idle, s.tends, s.confined = answer.state == 1, answer.state == 2, answer.state == 3
	return got, answer.broken, nil
}

// parseClaimed reads the tasks of a claim: their ids, a record for each, and pairs of
// an id and its tries.
func parseClaimed(tried, ids, records []any, now Clock) ([]Claimed, error) {
	if len(ids) != len(records) {
		return nil, fmt.Errorf("%w: %d ids with %d records", link.ErrMalformedReply, len(ids), len(records))
	}
	got := make([]Claimed, len(ids))
	for i := range ids {
		id, isID := ids[i].(string)
		record, isRecord := records[i].(string)
		if !isID || !isRecord {
			return nil, fmt.Errorf("%w: task %d of the claim is no text", link.ErrMalformedReply, i+1)
		}
		got[i].ID, got[i].Clock = id, now
		got[i].Record, got[i].Malformed = ParseRecord(record)
	}
	for i := 0; i+1 < len(tried); i += 2 {
		if at := slices.Index(ids, tried[i]); at >= 0 {
			text, _ := tried[i+1].(string)
			got[at].Tries = ParseTries(text)
		}
	}
	return got, nil
}

// readBodies reads the payloads of tasks that are in hand and have keys of their own.
func (s *Session) readBodies(ctx context.Context, got []Claimed) error {
	var refs []BodyRef
	var of []*Claimed
	for i := range got {
		if got[i].Record.Body.Name != "" {
			refs, of = append(refs, got[i].Record.Body), append(of, &got[i])
		}
	}
	if len(refs) == 0 {
		return nil
	}
	payloads, errs, err := Bodies(ctx, s.cfg.Redis, s.cfg.Keys, refs)
	if err != nil {
		return err
	}
	for i, c := range of {
		c.Record.Payload, c.Malformed = payloads[i], errs[i]
	}
	return nil
}

// Resign removes the node from the idle nodes that Redis wakes, and wakes another node
// for the tasks that wait in its queues. Set asked when the node ends because somebody
// asked for it and tasks are in hand: then its end counts against none of these tasks, whoever
// takes them over, and Resign is repeated until Redis has noted it or ctx ends.
func (s *Session) Resign(ctx context.Context, asked bool) error {
	args := []any{s.cfg.Incarnation, flagOf(asked)}
	if s.list != "" {
		args = append(args, "@"+s.list)
	} else {
		args = s.withQueues(args...)
	}
	if asked {
		return s.note(ctx, resignScript, args...)
	}
	_, err := resignScript.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
	return err
}

// flagOf returns a truth value as scripts read it.
func flagOf(on bool) string {
	if on {
		return "1"
	}
	return ""
}

// Quiet notes on Redis whether the node has stopped claiming, which may explain why a task
// waits. While Redis is not available, Quiet retries until ctx ends: if the request were
// dropped, the old note would stay until the next change.
func (s *Session) Quiet(ctx context.Context, on bool) error {
	return s.note(ctx, quietScript, s.withQueues(s.cfg.Incarnation, flagOf(on))...)
}

// Suspect notes on Redis which suspect task runs: if the node ends meanwhile, the
// take-over counts the crash against that task.
func (s *Session) Suspect(ctx context.Context, id string) error {
	return s.note(ctx, soloScript, s.cfg.Incarnation, id)
}

// note runs a script until its outcome is known or ctx ends.
func (s *Session) note(ctx context.Context, script *link.Script, args ...any) error {
	return refusal(s.cfg.Reports.Insist(ctx, "notes", func(ctx context.Context) error {
		_, err := script.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
		return err
	}))
}

func (s *Session) withQueues(args ...any) []any {
	for _, q := range s.cfg.Queues {
		args = append(args, q)
	}
	return args
}
