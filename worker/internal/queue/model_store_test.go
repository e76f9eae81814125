package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// storedKinds says of which type each key of the tasks is; those that end with a
// colon are many. A key that is not among them is left over.
var storedKinds = map[string]string{
	"tasks": "hash", "active": "hash", "bytes": "hash", "bodies": "hash", "body:": "string", "weighing": "hash", "weighed:": "set", "settings": "hash", "stats": "hash", "unique": "hash", "blocked": "hash",
	"followers": "hash", "waiting": "hash", "cancelling": "hash", "progress": "hash", "periodic": "hash", "periodic:definitions": "hash", "periodic:set": "hash", "periodic:registered": "hash", "periodic:programs": "hash", "periodic:history": "hash",
	"definitions": "hash", "tries": "hash", "history": "hash", "reasons": "hash", "results": "hash", "owned:": "hash", "stream:": "hash",
	"groups:": "zset", "grouped": "hash", "halted": "set", "resting": "zset", "rates": "zset", "refills": "zset", "held": "hash", "holders": "hash", "returned": "hash",
	"leases": "zset", "steps": "hash", "steps:": "hash", "stepped:": "hash", "deadlines": "zset", "delayed:": "zset", "dead": "zset", "cancelled": "zset", "done": "zset", "kept": "zset", "retained": "zset", "retained:": "list", "unique:until": "zset",
	"queues": "set", "idle:": "set", "parked": "set", "queue:": "list", "parked:": "list", "producer:": "string",
	"ready": "set", "next": "zset", "mover": "string", "serves:": "zset", "lists": "hash", "idlers:": "set", "tended": "hash",
	"clock": "string", "cache:": "", // the cache's own
}

func storedKind(t require.TestingT, name string) string {
	if kind, has := storedKinds[name]; has {
		return kind
	}
	group, _, many := strings.Cut(name, ":")
	kind, has := storedKinds[group+":"]
	require.True(t, has && many, "a key is left over: %s", name)
	return kind
}

// stored is everything on Redis: hashes and sorted sets as field → value, sets as
// member → "", lists as position → id, a string under "".
type stored map[string]map[string]string

func (s stored) put(name, field, value string) {
	if s[name] == nil {
		s[name] = map[string]string{}
	}
	s[name][field] = value
}

func (s stored) list(name string, ids []string) {
	for i, id := range ids {
		s.put(name, fmt.Sprintf("%03d", i), id)
	}
}

func (s stored) ids(name string) []string {
	ids := make([]string, 0, len(s[name]))
	for _, position := range slices.Sorted(maps.Keys(s[name])) {
		ids = append(ids, s[name][position])
	}
	return ids
}

// read reads all keys of the namespace but the cache's, and the bodies that expire.
func read(ctx context.Context, t require.TestingT, c redis.UniversalClient, prefix string) stored {
	keys, err := c.Keys(ctx, prefix+"*").Result()
	require.NoError(t, err)
	replies := map[string]func() map[string]string{}
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			name := strings.TrimPrefix(key, prefix)
			switch storedKind(t, name) {
			case "hash":
				cmd := p.HGetAll(ctx, key)
				replies[name] = cmd.Val
			case "zset":
				cmd := p.ZRangeWithScores(ctx, key, 0, -1)
				replies[name] = func() map[string]string { return scores(cmd.Val()) }
			case "set":
				cmd := p.SMembers(ctx, key)
				replies[name] = func() map[string]string { return numbered(cmd.Val(), true) }
			case "list":
				cmd := p.LRange(ctx, key, 0, -1)
				replies[name] = func() map[string]string { return numbered(cmd.Val(), false) }
			case "string":
				cmd, left := p.Get(ctx, key), p.PTTL(ctx, key)
				replies[name] = func() map[string]string {
					if strings.HasPrefix(name, "body:") && left.Val() >= 0 {
						return nil
					}
					return map[string]string{"": cmd.Val()}
				}
			default:
			}
		}
		return nil
	})
	require.NoError(t, err)
	out := stored{}
	for name, reply := range replies {
		if content := reply(); content != nil {
			out[name] = content
		}
	}
	return out
}

func scores(entries []redis.Z) map[string]string {
	out := map[string]string{}
	for _, e := range entries {
		out[fmt.Sprint(e.Member)] = strconv.FormatFloat(e.Score, 'f', -1, 64)
	}
	return out
}

func numbered(members []string, set bool) map[string]string {
	out := map[string]string{}
	for i, m := range members {
		if set {
			out[m] = ""
		} else {
			out[fmt.Sprintf("%03d", i)] = m
		}
	}
	return out
}

// restore makes Redis hold that again, and nothing else but the cache's entries,
// which the caller brings back.
func (s stored) restore(ctx context.Context, t require.TestingT, c redis.UniversalClient, prefix string) {
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for name, content := range s {
			key := prefix + name
			for field, value := range content {
				switch storedKind(t, name) {
				case "hash":
					p.HSet(ctx, key, field, value)
				case "zset":
					score, _ := strconv.ParseFloat(value, 64)
					p.ZAdd(ctx, key, redis.Z{Score: score, Member: field})
				case "set":
					p.SAdd(ctx, key, field)
				case "string":
					p.Set(ctx, key, value, 0)
				default:
				}
			}
			if storedKind(t, name) == "list" {
				for _, id := range s.ids(name) {
					p.RPush(ctx, key, id)
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// plain takes out what the model does not foresee to the letter: texts of reasons
// and of the past, figures of speed, zeros of counters.
func (s stored) plain() stored {
	out := stored{}
	for name, content := range s {
		for field, value := range content {
			switch name {
			case "clock", "followers":
				continue
			case "reasons":
				value = reasonIn(value)
			case "history":
				var past string
				for line := range strings.Lines(value) {
					f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 3)
					past += f[0] + "|" + f[1] + "\n"
				}
				value = past
			case "stats", "bytes":
				if strings.HasSuffix(field, "|speed") || value == "0" {
					continue
				}
			case "progress", "waiting", "cancelling", "periodic:definitions":
				value = ""
			default:
			}
			if !strings.HasPrefix(name, "idle:") && !strings.HasPrefix(name, "idlers:") && !strings.HasPrefix(name, "serves:") {
				out.put(name, field, value)
			}
		}
	}
	return out
}

// render says what must be on Redis.
func (s *spec) render() stored {
	out := stored{}
	for line, ids := range s.Lines {
		out.list("queue:"+line, ids)
	}
	for list, ids := range s.Parked {
		out.list("parked:"+list, ids)
		if len(ids) > 0 {
			out.put("parked", list, "")
		}
		for _, id := range ids {
			if s.Tasks[id].Options.Tick > 0 {
				out.put("periodic", periodicOf(id)+"|"+list, id)
			}
		}
	}
	for queue := range s.Queues {
		out.put("queues", queue, "")
	}
	for field, n := range s.Stats {
		out.put("stats", field, strconv.Itoa(n))
	}
	for name, k := range s.Unique {
		out.put("unique", name, k.Holder)
		if k.Until > 0 {
			out.put("unique:until", name, strconv.FormatInt(k.Until, 10))
		}
	}
	for name, p := range s.Producers {
		out.put("producer:"+name, "", p.String())
	}
	for name, tick := range s.Ticks {
		out.put("periodic", name, tick)
		out.put("periodic:definitions", name, "")
	}
	for name, definition := range s.PeriodicSet {
		out.put("periodic:set", name, definition)
	}
	for name, at := range s.Registered {
		out.put("periodic:registered", name, strconv.FormatInt(at, 10))
	}
	for program, text := range s.Programs {
		out.put("periodic:programs", program, text)
	}
	for name, past := range s.TickHistory {
		out.put("periodic:history", name, past)
	}
	for queue := range s.Ready {
		out.put("ready", queue, "")
	}
	for queue, t := range s.Tended {
		out.put("tended", queue, strconv.FormatInt(t.Till, 10)+"|"+t.Name)
	}
	for queue, lists := range s.Lists {
		out.put("lists", queue, strings.Join(lists, " ")+" ")
	}
	for queue, at := range s.Next {
		out.put("next", queue, strconv.FormatInt(at, 10))
	}
	if s.Mover.ID != "" {
		out.put("mover", "", strconv.FormatInt(s.Mover.Promise, 10)+"|"+s.Mover.ID)
	}
	s.Definitions.render(out)
	s.Retained.render(out)
	s.renderSettings(out)
	s.renderGroups(out)
	s.renderIncarnations(out)
	s.renderBatches(out)
	for _, t := range s.Tasks {
		t.render(out)
	}
	for queue := range s.Queues {
		if n := s.active(queue); n > 0 {
			out.put("active", queue, strconv.Itoa(n))
		}
	}
	return out
}

func (s *spec) renderSettings(out stored) {
	for _, queue := range modelQueues {
		set, special := s.Settings[queue], flagOf(s.Groups.Special[queue])
		if set == nil {
			set = &specSettings{}
		}
		if set.Program != nil {
			out.put("settings", queue+"|program", set.Program.String())
		}
		if set.Operator != nil {
			out.put("settings", queue+"|operator", set.Operator.String())
		}
		if s.isSet(queue) {
			out.put("settings", queue, set.String()+special)
		}
		if n := s.bytes(queue); set.limits().Bytes > 0 && n > 0 {
			out.put("bytes", queue, strconv.FormatInt(n, 10))
		}
		if w := s.Weighing[queue]; w != nil {
			out.put("weighing", queue, strconv.Itoa(s.Stats[queue+"|weighings"])+"|"+strconv.FormatInt(w.Last, 10))
			for _, id := range s.ids() {
				if w.IDs[id] && s.weighs(s.Tasks[id], queue) {
					out.put("weighed:"+queue, id, "")
				}
			}
		}
	}
}

func (s *spec) renderIncarnations(out stored) {
	for name, i := range s.Incarnations {
		out.put("leases", name, strconv.FormatInt(i.Deadline, 10))
		for field, n := range map[string]uint64{"claim": i.Claim, "commit": i.Commit} {
			if n > 0 {
				out.put("stream:"+name, field, strconv.FormatUint(n, 10))
			}
		}
		if i.Refused != nil {
			out.put("stream:"+name, "refused", *i.Refused)
		}
		if i.Queues != "" {
			out.put("stream:"+name, "queues", i.Queues)
		}
		if i.List != "" {
			out.put("stream:"+name, "list", i.List)
		}
		if i.Solo != "" {
			out.put("stream:"+name, "solo", i.Solo)
		}
		if i.Quiet {
			out.put("stream:"+name, "quiet", "1")
		}
		if i.Asked {
			out.put("stream:"+name, "asked", "1")
		}
	}
}

func (t *specTask) render(out stored) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for name, value := range map[string]string{"tasks": t.Record, "tries": t.Tries, "reasons": t.Reason, "history": t.Past, "results": t.Result} {
		if value != "" {
			out.put(name, t.ID, value)
		}
	}
	t.Steps.render(out, t.ID)
	for name, has := range map[string]bool{"waiting": t.Awaited, "cancelling": t.Asked, "progress": t.Progress} {
		if has {
			out.put(name, t.ID, "")
		}
	}
	if t.Body.Name != "" && t.Record != "" {
		out.put("bodies", t.ID, t.Body.String())
		out.put("body:"+t.Body.Name, "", t.Payload)
	}
	if t.expires() {
		out.put("deadlines", t.ID, number(t.Options.Deadline))
	}
	switch t.State {
	case stateDelayed:
		out.put("delayed:"+t.queue(), t.ID, number(t.Due))
	case stateBlocked:
		out.put("blocked", t.ID, strconv.Itoa(len(t.Waits)))
	case stateActive:
		out.put("owned:"+t.Owner, t.ID, strconv.FormatUint(t.Claim, 10)+"|"+number(t.Since)+t.share())
	case stateDead, stateCancelled:
		out.put(string(t.State), t.ID, number(t.Ended))
	default: // the lines and parked lists have it
	}
	if t.Until > 0 {
		out.put("done", t.ID, number(t.Until))
	}
	if kept := t.keptAlone(); kept > 0 {
		out.put("kept", t.ID, number(kept))
	}
}
