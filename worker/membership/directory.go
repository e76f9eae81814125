package membership

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
)

// Process describes the process in which a node lives.
type Process struct {
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// Program is the name of the program. Empty: not known, in the records of older
	// programs.
	Program string `json:"program,omitempty"`
	// Version is the version of the program.
	Version string `json:"version,omitempty"`
	// Layout is the link.Layout of the data that the program writes. 0 counts as 1: older
	// programs do not have this field.
	Layout int `json:"layout,omitempty"`
	// Lease is how long the node's leases last, in milliseconds. 0: not known, in the
	// records of older programs.
	Lease int64 `json:"leaseMs,omitempty"`
	// TokenMode is how the node proves its messages. Empty: not known, in the records of
	// older programs.
	TokenMode link.Mode `json:"tokenMode,omitempty"`
	// OwnInbox: each life of the node listens on an inbox of its own. False in the records of
	// older programs.
	OwnInbox bool `json:"ownInbox,omitempty"`
	// Slots is how many tasks the node runs at a time. 0: not known, as in the records of older programs.
	Slots int `json:"slots,omitempty"`
	Guarded
}

// Guarded is the place of a process under a guardian: a parent process that starts it again,
// and hands over what its nodes owned, when it dies.
type Guarded struct {
	// Launch names the process: no other one in the world has the same. Empty: it has no
	// guardian.
	Launch string `json:"launch,omitempty"`
	// Guardian is the PID of the guardian.
	Guardian int `json:"guardian,omitempty"`
	// Slot is the number of the process among the guardian's, from 0.
	Slot int `json:"slot,omitempty"`
}

// recordedProcess is a [Process] as member records have it, which scripts and programs of
// other versions read.
type recordedProcess struct {
	Process

	Lease int64 `json:"lease,omitempty"`
}

func (p Process) record() ([]byte, error) {
	r := recordedProcess{p, p.Lease}
	r.Process.Lease = 0
	return json.Marshal(r)
}

func parseProcess(text string) Process {
	var r recordedProcess
	_ = json.Unmarshal([]byte(text), &r) // fields that cannot be read stay empty
	r.Process.Lease = r.Lease
	return r.Process
}

// Member is a node as [Directory.List] returns it.
type Member struct {
	Incarnation Incarnation
	Process     Process
	State       State
	Uptime      time.Duration // since the node joined, on Redis's clock
	TasksInHand int           // tasks that are claimed and not finished
	LeaseAge    time.Duration // since its lease was renewed, on Redis's clock; 0 if it is condemned
	Live        bool          // its lease has not run out, and it is not condemned

	joined int64 // in milliseconds on Redis's clock, 0 if that is not known
}

// Directory reads and changes the member list of a namespace's cluster.
type Directory struct {
	Client redis.UniversalClient
	Keys   link.Keys
	// OnAlien, when set, is called for an entry of a key that is not ours and that was passed
	// over; "" if only its key is known.
	OnAlien func(key, entry string)

	testLayouts layouts // replaces this program's layouts in tests
}

// List returns all nodes that have joined and not left, sorted by prefix and number. Nodes
// whose lease has run out are included.
func (d Directory) List(ctx context.Context) ([]Member, error) {
	reply, err := listScript.Call(ctx, d.Client, []string{d.Keys.Members(), d.Keys.Leases()}, d.Keys.Owned(""))
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	var now int64
	if err := reply.Row(0).Scan(&now); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	members := make([]Member, 0, reply.Len()-1)
	for i := range reply.Len() - 1 {
		if m, readable := d.parseMember(reply.Row(1+i), now); readable {
			members = append(members, m)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return CompareIDs(a.Incarnation.ID, b.Incarnation.ID) })
	return members, nil
}

// CompareIDs orders node ids by prefix, then by number: worker-2 before worker-10.
func CompareIDs(a, b string) int {
	ap, an := number(a)
	bp, bn := number(b)
	return cmp.Or(cmp.Compare(ap, bp), cmp.Compare(an, bn), cmp.Compare(a, b))
}

// Live returns the nodes whose lease has not run out, in no order.
func (d Directory) Live(ctx context.Context) ([]redisbus.Identity, error) {
	reply, err := liveScript.Call(ctx, d.Client, []string{d.Keys.Leases()})
	var names []string
	if err == nil {
		err = reply.Scan(&names)
	}
	if err != nil {
		return nil, fmt.Errorf("list live members: %w", err)
	}
	live := make([]redisbus.Identity, 0, len(names))
	for _, name := range names {
		if i, err := Parse(name); err == nil { // the reaper reports what is not ours
			live = append(live, redisbus.Identity{ID: i.ID, Incarnation: name})
		}
	}
	return live, nil
}

// Modes returns the token mode of each live node by its id.
func (d Directory) Modes(ctx context.Context) (map[string]link.Mode, error) {
	members, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	modes := make(map[string]link.Mode, len(members))
	for _, m := range members {
		if m.Live {
			modes[m.Incarnation.ID] = m.Process.TokenMode
		}
	}
	return modes, nil
}

// Inbox returns the name of the inbox of a node on the bus: that of its present life, or
// its id if nobody knows the node or its program is an older one.
func (d Directory) Inbox(ctx context.Context, id string) (string, error) {
	record, err := d.Client.HGet(ctx, d.Keys.Members(), id).Result()
	if errors.Is(err, redis.Nil) {
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("inbox of %s: %w", id, link.Explain(err))
	}
	if m, readable := parseRecord(record); readable && m.Incarnation.ID == id && m.Process.OwnInbox {
		return m.Incarnation.String(), nil
	}
	return id, nil
}

// Expired returns up to limit incarnations that may be taken over. If no process has called
// it for half a lease, Redis was probably away and nobody could renew: then it returns none
// for the length of one lease, so that nodes do not take over from each other after an
// outage.
//
// Redis's clock may have been ahead and gone back. Then Expired shortens the leases that end
// later than they can, and the reservations (see [Directory.Condemn]) to reserve, the
// longest that a process makes.
func (d Directory) Expired(ctx context.Context, lease, reserve time.Duration, limit int) ([]Incarnation, error) {
	keys := []string{d.Keys.Leases(), d.Keys.Reaping(), d.Keys.Members(), d.Keys.Aliens()}
	reply, err := expiredScript.Call(ctx, d.Client, keys, lease.Milliseconds(), limit, reserve.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("list expired leases: %w", err)
	}
	var names, aliens, keysOfAliens []string
	if err := reply.Scan(&names, &aliens, &keysOfAliens); err != nil {
		return nil, fmt.Errorf("list expired leases: %w", err)
	}
	out := make([]Incarnation, 0, len(names))
	for _, name := range names {
		if i, err := Parse(name); err == nil {
			out = append(out, i)
		}
	}
	for _, alien := range aliens {
		d.alien(d.Keys.Leases(), alien)
	}
	for _, key := range keysOfAliens {
		d.alien(key, "")
	}
	return out, nil
}

// Verdict says whether an incarnation may be handed over.
type Verdict string

// The results of [Directory.Condemn].
const (
	Condemned Verdict = "OK"   // may be handed over: Redis refuses its claims and commits from now on
	StillLive Verdict = "LIVE" // its lease, or another process's reservation, has not run out
	Gone      Verdict = "GONE" // has left already
)

// Condemn ends an incarnation's lease for good, so that what it owns can be handed over. For
// the time reserve no other process may do that hand-over. If expired is true, Condemn does
// so only when the lease has run out; if it is false, the caller guarantees that the
// incarnation has ended.
func (d Directory) Condemn(ctx context.Context, i Incarnation, expired bool, reserve time.Duration) (Verdict, error) {
	why := "ended"
	if expired {
		why = "expired"
	}
	_, err := condemnScript.Call(ctx, d.Client, []string{d.Keys.Leases()}, i.String(), why, reserve.Milliseconds())
	if v := Verdict(link.WordOf(err)); v == StillLive || v == Gone {
		return v, nil
	}
	if err != nil {
		return "", fmt.Errorf("condemn %s: %w", i, err)
	}
	return Condemned, nil
}

// Leave frees the id of an incarnation that was handed over. It reports whether this call
// did that.
func (d Directory) Leave(ctx context.Context, i Incarnation) (bool, error) {
	return d.leave(ctx, i, "")
}

// Vacate frees the id of a condemned incarnation before its hand-over is complete, because
// some of its handlers still run: a new life need not wait for them. It reports whether the
// incarnation is condemned.
func (d Directory) Vacate(ctx context.Context, i Incarnation) (bool, error) {
	return d.leave(ctx, i, "1")
}

func (d Directory) leave(ctx context.Context, i Incarnation, unsettled string) (did bool, err error) {
	prefix, n := number(i.ID)
	keys := []string{d.Keys.Members(), d.Keys.Leases(), d.Keys.Numbers(prefix)}
	reply, err := leaveScript.Call(ctx, d.Client, keys, i.ID, i.String(), n, unsettled)
	if err == nil {
		err = reply.Scan(&did)
	}
	if err != nil {
		return false, fmt.Errorf("leave %s: %w", i, err)
	}
	return did, nil
}

// SetState writes a node's state into its member record. It does nothing if the record
// belongs to another incarnation.
func (d Directory) SetState(ctx context.Context, i Incarnation, state State) error {
	_, err := stateScript.Call(ctx, d.Client, []string{d.Keys.Members()}, i.ID, i.String(), string(state))
	if err != nil {
		return fmt.Errorf("state of %s: %w", i, err)
	}
	return nil
}

func (d Directory) alien(key, entry string) {
	if d.OnAlien != nil {
		d.OnAlien(key, entry)
	}
}

// parseMember parses a row of list.lua, as much of it as can be read: a damaged record
// hides no other member. It reports false for an entry that is not ours.
func (d Directory) parseMember(row link.Reply, now int64) (m Member, ours bool) {
	var id, record, score string
	hand := 0
	if row.Scan(&id, &record, &score, &hand) != nil {
		return Member{}, false
	}
	m, ours = parseRecord(record)
	deadline, err := strconv.ParseFloat(score, 64)
	switch {
	case !ours || m.Incarnation.ID != id:
		d.alien(d.Keys.Members(), id)
		return Member{}, false
	case score == "":
		return Member{}, false // it has left
	case err != nil || math.IsInf(deadline, 0):
		d.alien(d.Keys.Leases(), m.Incarnation.String())
		return Member{}, false
	}
	m.TasksInHand, m.Live = hand, deadline > float64(now)
	if deadline > 0 {
		renewed := int64(deadline) - cmp.Or(m.Process.Lease, DefaultLease.Milliseconds())
		m.LeaseAge = time.Duration(max(now-renewed, 0)) * time.Millisecond
	}
	if m.joined > 0 {
		m.Uptime = time.Duration(now-m.joined) * time.Millisecond
	}
	return m, true
}

// parseRecord parses a member record: the incarnation, when it joined, its state and its
// process.
func parseRecord(text string) (m Member, readable bool) {
	parts := append(strings.SplitN(text, "\n", 4), "", "", "")
	i, err := Parse(parts[0])
	if err != nil {
		return Member{}, false
	}
	m.Incarnation, m.State = i, State(parts[2])
	m.joined, _ = strconv.ParseInt(parts[1], 10, 64)
	m.Process = parseProcess(parts[3])
	return m, true
}
