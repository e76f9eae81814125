package history

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Bounds of what is kept.
const (
	Fine      = 8 * time.Hour  // for how long each minute is kept
	Coarse    = 72 * time.Hour // for how long each quarter of an hour is kept
	MostNames = 200
	MostBytes = 16 << 20

	Other = "_other" // counts what exceeds MostNames

	Quarter = 15 * time.Minute
)

var (
	//go:embed lua/add.lua
	addLua    string
	addScript = link.NewScript(link.LuaPrelude, addLua)
)

// Store reads and writes the history of a namespace.
type Store struct {
	Client redis.UniversalClient
	Keys   link.Keys
}

// line is a sum as a request has it.
type line struct {
	minute int64 // since 1970, on Redis's clock
	key
	text string
}

// add adds sums. The number tells Redis, if again is true, whether the request has run. It
// returns the time on Redis's clock.
func (s Store) add(ctx context.Context, writer string, number int64, again bool, lines []line) (time.Time, error) {
	args := []any{
		writer, number, again, MostNames, MostBytes, int64(Fine / time.Hour), int64(Coarse / time.Hour),
	}
	for _, l := range lines {
		args = append(args, l.minute, clean(l.queue)+"|"+clean(l.name), l.text)
	}
	reply, err := addScript.Call(ctx, s.Client, []string{s.Keys.Charts(), s.Keys.Charted()}, args...)
	var now int64
	if err == nil {
		err = reply.Scan(&now)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("add to the history: %w", err)
	}
	return time.UnixMilli(now), nil
}

// clean returns a name without the characters that separate the parts of a field.
func clean(name string) string {
	if name == "" || strings.ContainsAny(name, "|\n ") {
		return Other
	}
	return name
}

// Point is what happened to the runs of a name and queue in the time Length from At on.
type Point struct {
	At          time.Time // on Redis's clock
	Length      time.Duration
	Queue, Name string
	Sum
}

// of reports whether the point is one of a queue and name. Empty ones select all.
func (p *Point) of(queue, name string) bool {
	return (queue == "" || p.Queue == queue) && (name == "" || p.Name == name)
}

// within reports whether some of the point's time is between two others.
func (p *Point) within(from, to time.Time) bool {
	return p.At.Add(p.Length).After(from) && p.At.Before(to)
}

// Read returns the points from a time on until another: those of minutes if all of these are kept,
// else those of quarters. Empty names select all. They are sorted by time, queue and name.
func (s Store) Read(ctx context.Context, from, to time.Time, queue, name string) ([]Point, error) {
	now, err := s.Client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", link.Explain(err))
	}
	if to.IsZero() || to.After(now) {
		to = now.Add(time.Millisecond) // the minute that begins now is among them
	}
	kind, length := "m", time.Minute
	if from.Before(now.Add(-Fine)) {
		kind, length = "q", Quarter
	}
	if oldest := now.Add(-Coarse - time.Hour); from.Before(oldest) {
		from = oldest
	}
	var points []Point
	for hour := from.Truncate(time.Hour); hour.Before(to); hour = hour.Add(time.Hour) {
		fields, err := s.fields(ctx, s.Keys.Charts()+":"+kind+strconv.FormatInt(hour.Unix()/3600, 10))
		if err != nil {
			return nil, err
		}
		for field, text := range fields {
			p, ours := parseField(field, hour, length)
			if ours && p.of(queue, name) && p.within(from, to) {
				p.parse(text)
				points = append(points, p)
			}
		}
	}
	slices.SortFunc(points, func(a, b Point) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Name, b.Name))
	})
	return points, nil
}

// scanned is how many fields are read at a time.
const scanned = 1000

// fields returns the fields of a hash, read some at a time. A field may come twice.
func (s Store) fields(ctx context.Context, key string) (map[string]string, error) {
	fields, cursor := map[string]string{}, uint64(0)
	for {
		some, next, err := s.Client.HScan(ctx, key, cursor, "", scanned).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("read the history: %w", link.Explain(err))
		}
		for i := 0; i+1 < len(some); i += 2 {
			fields[some[i]] = some[i+1]
		}
		if cursor = next; cursor == 0 {
			return fields, nil
		}
	}
}

// parseField parses "minute|queue|name", where the minute is that of the hour, or the quarter of it.
func parseField(field string, hour time.Time, length time.Duration) (p Point, ours bool) {
	part, name, ok := strings.Cut(field, "|")
	queue, name, ok2 := strings.Cut(name, "|")
	n, err := strconv.Atoi(part)
	if !ok || !ok2 || err != nil || n < 0 || time.Duration(n)*length >= time.Hour {
		return Point{}, false
	}
	return Point{At: hour.Add(time.Duration(n) * length), Length: length, Queue: queue, Name: name}, true
}
