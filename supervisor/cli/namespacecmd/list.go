package namespacecmd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
)

// Namespace is a namespace in the JSON output of "namespace list".
type Namespace struct {
	Name       string `json:"name"`
	Configured bool   `json:"configured"` // the commands use it, as the settings are now
	// Nodes are the live nodes; nil if the user of Redis may not know.
	Nodes []string `json:"nodes"`
	// Tasks is how many tasks are stored, Keys how many keys there are, Parts how many of them each
	// part of a namespace has; all are estimates.
	Tasks int64               `json:"tasks"`
	Keys  int64               `json:"keys"`
	Parts map[link.Part]int64 `json:"parts"`
	// Bytes is an estimate of the memory; nil if the server does not tell.
	Bytes *int64 `json:"bytes"`
}

// measuredKeys is how many keys of each part of a namespace are measured.
const measuredKeys = 100

// found is what a walk has found of a namespace.
type found struct {
	counts  map[link.Part]int64
	samples map[link.Part][]string
}

func list(ctx context.Context, e *cluster.Env, _ []string) error {
	s, err := e.ConnectServer(ctx, e.Namespace)
	if err != nil {
		return err
	}
	defer s.Close()
	all := map[string]*found{}
	meter, seen := e.Meter(), 0
	err = walk(ctx, s.Client, "{*}:*", func(keys []string) error {
		for _, key := range keys {
			note(all, key)
		}
		seen += len(keys)
		meter.Show(func() string { return "seen " + link.Count(seen, "key") })
		return nil
	})
	meter.End()
	if err != nil {
		return explain(err, e.Namespace)
	}
	namespaces := make([]Namespace, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n, err := look(ctx, s, name, all[name])
		if err != nil {
			return err
		}
		n.Configured = name == e.Namespace
		namespaces = append(namespaces, n)
	}
	return write(e, s, namespaces)
}

// note counts a key.
func note(all map[string]*found, key string) {
	name, part, ok := link.SplitKey(key)
	if !ok {
		return
	}
	n := all[name]
	if n == nil {
		n = &found{counts: map[link.Part]int64{}, samples: map[link.Part][]string{}}
		all[name] = n
	}
	n.counts[part]++
	if len(n.samples[part]) < measuredKeys {
		n.samples[part] = append(n.samples[part], key)
	}
}

// look asks Redis about a namespace. What the user of Redis has no right to know is left out.
func look(ctx context.Context, s *cluster.Server, name string, f *found) (Namespace, error) {
	n, keys := Namespace{Name: name, Parts: f.counts}, keysOf(s, name)
	for _, count := range f.counts {
		n.Keys += count
	}
	live, err := liveNodes(ctx, s, keys)
	if err == nil {
		n.Nodes = live
	} else if unknown := whyUnknown(err); unknown != nil {
		return n, unknown
	}
	n.Tasks, err = s.HLen(ctx, keys.Tasks()).Result()
	if unknown := whyUnknown(err); unknown != nil {
		return n, unknown
	}
	n.Bytes, err = memory(ctx, s.Client, f)
	return n, err
}

// whyUnknown returns nil if Redis has refused to tell something, and else the error.
func whyUnknown(err error) error {
	if err == nil || link.CauseOf(err) == link.CauseRights || link.OutcomeOf(err) == link.Ran {
		return nil
	}
	return link.Explain(err)
}

// memory estimates how many bytes the keys have. It returns nil if the server does not tell.
func memory(ctx context.Context, c *redis.Client, f *found) (*int64, error) {
	total := int64(0)
	for part, keys := range f.samples {
		sizes, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.MemoryUsage(ctx, key)
			}
			return nil
		})
		if unknown := whyUnknown(err); unknown != nil {
			return nil, unknown
		}
		measured, sum := int64(0), int64(0)
		for _, size := range sizes {
			if got, ok := size.(*redis.IntCmd); ok && got.Err() == nil {
				measured++
				sum += got.Val()
			}
		}
		if measured == 0 {
			return nil, nil //nolint:nilnil // not known
		}
		total += sum * f.counts[part] / measured
	}
	return &total, nil
}

// write writes the namespaces.
func write(e *cluster.Env, s *cluster.Server, all []Namespace) error {
	if s.Config.InCluster() {
		e.Notef("of a Redis Cluster these are the namespaces on the server that has %s: --namespace NAME leads to another's", e.Namespace)
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{"redis": s.Where, "database": s.Config.Database(), "namespaces": all})
	}
	if len(all) == 0 {
		return e.WriteLine(fmt.Sprintf("no namespace has data in database %d of redis at %s", s.Config.Database(), s.Where))
	}
	rows := [][]string{{"NAMESPACE", "NODES", "TASKS", "KEYS", "CACHE", "LOCKS", "MEMORY", "STATE"}}
	for _, n := range all {
		nodes, state, bytes := "?", "-", "?"
		if n.Nodes != nil {
			nodes = strconv.Itoa(len(n.Nodes))
		}
		if n.Configured {
			state = "configured"
		}
		if n.Bytes != nil {
			bytes = sizeOf(*n.Bytes)
		}
		number := func(n int64) string { return strconv.FormatInt(n, 10) }
		rows = append(rows, []string{
			n.Name, nodes, number(n.Tasks), number(n.Keys), number(n.Parts[link.PartCache]), number(n.Parts[link.PartLocks]), bytes, state,
		})
	}
	return e.WriteTable(rows)
}

// sizeOf returns a number of bytes for people.
func sizeOf(n int64) string {
	unit, units := float64(n), "B KiB MiB GiB TiB"
	for unit >= 1024 && strings.Contains(units, " ") {
		unit /= 1024
		_, units, _ = strings.Cut(units, " ")
	}
	name, _, _ := strings.Cut(units, " ")
	return strconv.FormatFloat(unit, 'f', 0, 64) + " " + name
}
