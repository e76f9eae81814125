package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
)

// cacheFlags are the flags of all cache commands, each with a few of these.
type cacheFlags struct {
	ttl          time.Duration
	ifAbsent     bool
	keepExisting bool
	match        string
}

func (p *program) cacheCommand() *urfave.Command {
	f := &cacheFlags{match: "*"}
	return &urfave.Command{
		Name: "cache", Usage: "look into the cluster's cache, and change it",
		Description: "A GLOB is a pattern of keys such as 'user:*'; without one, all are meant.\n\n" +
			"   stellar cache set user:7 '{\"name\": \"Ada\"}' --ttl 10m\n" +
			"   stellar cache get user:7\n" +
			"   stellar cache keys 'user:*'\n" +
			"   stellar cache export backup.jsonl\n" +
			"   stellar cache import backup.jsonl --keep-existing",
		Commands: []*urfave.Command{
			{
				Name: "get", Usage: "print a value, or a list's items, as JSON", ArgsUsage: "KEY",
				Description:  "It is not recorded as a read. -o json tells its times as well.",
				ArgValidator: arguments(1, 1, "KEY"), Flags: p.onCache(), Action: p.action(p.cacheGet),
			}, {
				Name: "set", Usage: "save a value", ArgsUsage: "KEY VALUE-JSON",
				Description: "The value is any JSON; - reads it from standard input.",
				Flags: p.onCache(
					&urfave.DurationFlag{Name: "ttl", Destination: &f.ttl, Usage: "how long it lives (`TIME`, such as 10m)", DefaultText: "for ever"},
					&urfave.BoolFlag{Name: "if-absent", Destination: &f.ifAbsent, Usage: "only where there is no entry", HideDefault: true},
				),
				ArgValidator: arguments(2, 2, "KEY VALUE-JSON"),
				Action:       p.action(func(ctx context.Context, args []string) error { return p.cacheSet(ctx, f, args) }),
			}, {
				Name: "del", Usage: "destroy an entry or a list", ArgsUsage: "KEY",
				ArgValidator: arguments(1, 1, "KEY"), Flags: p.onCache(), Action: p.action(p.cacheDel),
			}, {
				Name: "keys", Usage: "list the keys of entries and lists", ArgsUsage: "[GLOB]",
				ArgValidator: arguments(0, 1, "[GLOB]"), Flags: p.onCache(), Action: p.action(p.cacheKeys),
			},
			p.exportCommand(f), p.importCommand(f), {
				Name: "locks", Usage: "list who holds which lock", ArgsUsage: "[GLOB]",
				ArgValidator: arguments(0, 1, "[GLOB]"), Flags: p.onCache(), Action: p.action(p.cacheLocks),
			},
		},
		Action: whichCommand,
	}
}

// whichCommand is what runs when none of a command's own commands is named.
func whichCommand(_ context.Context, cmd *urfave.Command) error {
	var known []string
	for _, c := range cmd.Commands {
		known = append(known, c.Name)
	}
	if word := cmd.Args().First(); word != "" {
		return usagef("%q is not a command of %s: use %s", word, cmd.FullName(), strings.Join(known, ", "))
	}
	return usagef("%s: name what to do: %s", cmd.FullName(), strings.Join(known, ", "))
}

// onCache are the flags of one cache command.
func (p *program) onCache(own ...urfave.Flag) []urfave.Flag {
	return p.commandFlags(append(own, p.compatFlags()...)...)
}

// withCache connects, and explains what f ends with.
func (p *program) withCache(ctx context.Context, key string, f func(*client, *cache.Cache) error) error {
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	return explainCache(key, f(c, p.cacheConfig().Open(c.redis, c.keys, "stellar-cli", zerolog.Nop())))
}

// explainCache tells what an error of the cache means for somebody at a command line.
func explainCache(key string, err error) error {
	explained := func(format string, args ...any) error { return &kindError{err, fmt.Errorf(format, args...)} }
	switch {
	case errors.Is(err, cache.ErrExpired):
		return explained("the entry under %q is expired", key)
	case errors.Is(err, cache.ErrNotFound):
		return explained("no entry and no list under %q: \"stellar cache keys\" lists what there is", key)
	case errors.Is(err, cache.ErrLocked):
		return explained("%q is locked: \"stellar cache locks\" tells by whom and for how long", key)
	case errors.Is(err, cache.ErrConflict):
		return explained("there is an entry under %q already: without --if-absent it is replaced", key)
	case errors.Is(err, cache.ErrWrongType):
		return explained("%q is a list: \"stellar cache del\" removes it", key)
	case errors.Is(err, cache.ErrMalformed):
		return explained("%q holds something that is no entry of this cache: nodes of another implementation need --compat", key)
	case errors.Is(err, cache.ErrInvalid):
		return &kindError{errUsage, err}
	default:
		return err
	}
}

// cacheEntry is an entry or a list in the JSON of get. Times are milliseconds on
// Redis's clock.
type cacheEntry struct {
	Key       string            `json:"key"`
	Value     json.RawMessage   `json:"value,omitempty"`
	Items     []json.RawMessage `json:"items,omitempty"`
	CreatedAt int64             `json:"createdAt,omitempty"`
	ReadAt    int64             `json:"readAt,omitempty"`
	ExpiresAt int64             `json:"expiresAt,omitempty"`
}

func (p *program) cacheGet(ctx context.Context, args []string) error {
	key := args[0]
	return p.withCache(ctx, key, func(_ *client, c *cache.Cache) error {
		found := cacheEntry{Key: key}
		e, err := c.LoadWith(ctx, key, cache.LoadOptions{NoRecord: true})
		switch {
		case errors.Is(err, cache.ErrWrongType):
			if found.Items, err = c.Range(ctx, key, 0, -1); err == nil && len(found.Items) == 0 {
				err = cache.ErrNotFound // popped since
			}
		case err == nil:
			found.Value, found.CreatedAt, found.ReadAt, found.ExpiresAt = e.Value, unixMilli(e.Created), unixMilli(e.Read), unixMilli(e.Expires)
		}
		switch {
		case err != nil:
			return err
		case p.asJSON():
			return p.writeJSON(found)
		case found.Items != nil:
			texts := make([]string, len(found.Items))
			for i, item := range found.Items {
				texts[i] = string(item)
			}
			return p.writeLine("[" + strings.Join(texts, ",") + "]")
		default:
			return p.writeLine(string(found.Value))
		}
	})
}

func (p *program) cacheSet(ctx context.Context, f *cacheFlags, args []string) error {
	given := p.input.origin("ttl").rank != fromDefault
	if given && (f.ttl <= 0 || f.ttl > cache.MaxTTL) {
		return usagef("--ttl: %s is not between 1ms and %s: leave it out for an entry that lives for ever", f.ttl, cache.MaxTTL)
	}
	key := args[0]
	value, err := p.argument(args[1], "VALUE-JSON", `'{"name": "Ada"}' or '"text"'`)
	if err != nil {
		return err
	}
	return p.withCache(ctx, key, func(_ *client, c *cache.Cache) error {
		if _, err := c.SaveWith(ctx, key, value, cache.SaveOptions{TTL: f.ttl, IfAbsent: f.ifAbsent}); err != nil {
			return err
		}
		if p.asJSON() {
			return p.writeJSON(map[string]any{"key": key, "saved": true})
		}
		return p.writeLine("saved " + key)
	})
}

func (p *program) cacheDel(ctx context.Context, args []string) error {
	key := args[0]
	return p.withCache(ctx, key, func(_ *client, c *cache.Cache) error {
		there, err := c.Destroy(ctx, key)
		switch {
		case err != nil:
			return err
		case !there:
			return cache.ErrNotFound
		case p.asJSON():
			return p.writeJSON(map[string]any{"key": key, "destroyed": true})
		default:
			return p.writeLine("destroyed " + key)
		}
	})
}

func (p *program) cacheKeys(ctx context.Context, args []string) error {
	return p.withCache(ctx, globOf(args), func(_ *client, c *cache.Cache) error {
		keys := []string{}
		for key, err := range c.Keys(ctx, globOf(args)) {
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		if p.asJSON() {
			return p.writeJSON(keys)
		}
		for _, key := range keys {
			if err := p.writeLine(strings.ReplaceAll(key, "\n", `\n`)); err != nil {
				return err
			}
		}
		return nil
	})
}

// cacheLock is a lock in the JSON of locks.
type cacheLock struct {
	Key       string `json:"key"`
	Holder    string `json:"holder"`
	Fence     int64  `json:"fence,omitempty"`
	ExpiresAt int64  `json:"expiresAt,omitempty"` // milliseconds on Redis's clock, unless it is renewed
	Waited    bool   `json:"waited"`
}

func (p *program) cacheLocks(ctx context.Context, args []string) error {
	return p.withCache(ctx, globOf(args), func(reach *client, c *cache.Cache) error {
		now, err := reach.redis.Time(ctx).Result()
		if err != nil {
			return err
		}
		locks := []cacheLock{}
		for l, err := range c.Locks(ctx, globOf(args)) {
			if err != nil {
				return err
			}
			locks = append(locks, cacheLock{Key: l.Key, Holder: l.Holder, Fence: l.Fence, ExpiresAt: unixMilli(l.Expires), Waited: l.Waited})
		}
		slices.SortFunc(locks, func(a, b cacheLock) int { return strings.Compare(a.Key, b.Key) })
		if p.asJSON() {
			return p.writeJSON(locks)
		}
		if len(locks) == 0 {
			return p.writeLine("no locks")
		}
		rows := [][]string{{"KEY", "HOLDER", "FENCE", "LEFT", "WAITED"}}
		for _, l := range locks {
			left := "-"
			if l.ExpiresAt > 0 {
				left = (time.Duration(max(l.ExpiresAt-now.UnixMilli(), 0)) * time.Millisecond).String()
			}
			rows = append(rows, []string{l.Key, l.Holder, strconv.FormatInt(l.Fence, 10), left, strconv.FormatBool(l.Waited)})
		}
		return p.writeTable(rows)
	})
}

func globOf(args []string) string {
	if len(args) == 0 {
		return "*"
	}
	return args[0]
}

func (p *program) writeLine(text string) error {
	_, err := fmt.Fprintln(p.Stdout, printable(text))
	return err
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
