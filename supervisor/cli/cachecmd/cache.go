// Package cachecmd has the command cache, whose subcommands read and change the
// cluster's cache.
package cachecmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// setFlags holds the flags that only "cache set" has.
type setFlags struct {
	ttl      time.Duration
	ifAbsent bool
}

// Commands returns the command cache.
func Commands(e *cluster.Env) []*urfave.Command {
	set := &setFlags{}
	return []*urfave.Command{{
		Name: "cache", Usage: "look into the cluster's cache, and change it",
		Description: "A GLOB is a pattern of keys such as 'user:*'; without one, all are meant.\n\n" +
			"   $0 cache set user:7 '{\"name\": \"Ada\"}' --ttl 10m\n" +
			"   $0 cache get user:7\n" +
			"   $0 cache keys 'user:*'\n" +
			"   $0 cache clear 'user:*'\n" +
			"   $0 cache export backup.jsonl\n" +
			"   $0 cache import backup.jsonl --keep-existing",
		Commands: []*urfave.Command{
			{
				Name: "get", Usage: "print a value, or a list's items, as JSON", ArgsUsage: "KEY",
				Description:  "It is not recorded as a read. -o json tells its times as well.",
				ArgValidator: config.Arguments(1, 1, "KEY"), Flags: flags(e), Action: e.Action(get),
			}, {
				Name: "set", Usage: "save a value", ArgsUsage: "KEY VALUE-JSON",
				Description: "The value is any JSON; - reads it from standard input.",
				Flags: flags(e,
					&urfave.DurationFlag{Name: "ttl", Destination: &set.ttl, Usage: "how long it lives, a `TIME` such as 10m", DefaultText: "for ever"},
					&urfave.BoolFlag{Name: "if-absent", Destination: &set.ifAbsent, Usage: "only where there is no entry", HideDefault: true},
				),
				ArgValidator: config.Arguments(2, 2, "KEY VALUE-JSON"),
				Action:       e.Action(set.run),
			}, {
				Name: "del", Usage: "destroy an entry or a list", ArgsUsage: "KEY",
				ArgValidator: config.Arguments(1, 1, "KEY"), Flags: flags(e), Action: e.Action(del),
			}, {
				Name: "keys", Usage: "list the keys of entries and lists", ArgsUsage: "[GLOB]",
				ArgValidator: config.Arguments(0, 1, "[GLOB]"), Flags: flags(e), Action: e.Action(keys),
			},
			clearCommand(e), exportCommand(e), importCommand(e), {
				Name: "locks", Usage: "list who holds which lock", ArgsUsage: "[GLOB]",
				ArgValidator: config.Arguments(0, 1, "[GLOB]"), Flags: flags(e), Action: e.Action(locks),
			},
		},
		Action: config.WhichCommand,
	}}
}

// flags returns the flags of a cache command: the command's own flags and those that all
// cache commands share.
func flags(e *cluster.Env, own ...urfave.Flag) []urfave.Flag {
	return e.ClientFlags(append(own, e.CacheFlags()...)...)
}

// withCache connects to the cluster, calls f and adds advice about the key to its error.
func withCache(ctx context.Context, e *cluster.Env, key string, f func(*cluster.Client, *cache.Cache) error) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return explain(e, key, f(c, c.Cache))
}

// explain replaces the text of a cache error with an explanation and advice for the
// user of the command line.
func explain(e *cluster.Env, key string, err error) error {
	explained := func(format string, args ...any) error { return config.As(err, fmt.Errorf(format, args...)) }
	switch {
	case errors.Is(err, cache.ErrExpired):
		return explained("the entry under %q is expired", key)
	case errors.Is(err, cache.ErrNotFound):
		return explained("no entry and no list under %q: \"%s cache keys\" lists what there is", key, e.Program)
	case errors.Is(err, cache.ErrLocked):
		return explained("%q is locked: \"%s cache locks\" tells by whom and for how long", key, e.Program)
	case errors.Is(err, cache.ErrConflict):
		return explained("there is an entry under %q already: without --if-absent it is replaced", key)
	case errors.Is(err, cache.ErrWrongType):
		return explained("%q is a list, which \"%s cache del\" removes, or the key of something else", key, e.Program)
	case errors.Is(err, cache.ErrMalformed):
		return explained("%q holds something that is no entry of this cache: nodes of another implementation need --compat", key)
	case errors.Is(err, cache.ErrInvalid):
		return config.As(config.ErrUsage, err)
	default:
		return err
	}
}

// Entry is an entry or a list in the JSON output of "cache get". Times are on Redis's clock.
type Entry struct {
	Key       string            `json:"key"`
	Value     json.RawMessage   `json:"value,omitempty"`
	Items     []json.RawMessage `json:"items,omitempty"`
	CreatedAt time.Time         `json:"createdAt,omitzero"`
	ReadAt    time.Time         `json:"readAt,omitzero"`
	ExpiresAt time.Time         `json:"expiresAt,omitzero"`
}

func get(ctx context.Context, e *cluster.Env, args []string) error {
	key := args[0]
	return withCache(ctx, e, key, func(_ *cluster.Client, c *cache.Cache) error {
		found := Entry{Key: key}
		entry, err := c.LoadWith(ctx, key, cache.LoadOptions{NoRecord: true})
		switch {
		case errors.Is(err, cache.ErrWrongType):
			if found.Items, err = c.Range(ctx, key, 0, -1); err == nil && len(found.Items) == 0 {
				err = cache.ErrNotFound // the list was emptied meanwhile
			}
		case err == nil:
			found.Value, found.CreatedAt, found.ReadAt, found.ExpiresAt =
				entry.Value, entry.Created.UTC(), entry.Read.UTC(), entry.Expires.UTC()
		}
		switch {
		case err != nil:
			return err
		case e.JSON():
			return e.WriteJSON(found)
		case found.Items != nil:
			texts := make([]string, len(found.Items))
			for i, item := range found.Items {
				texts[i] = string(item)
			}
			return e.WriteStored(json.RawMessage("[" + strings.Join(texts, ",") + "]"))
		default:
			return e.WriteStored(found.Value)
		}
	})
}

func (f *setFlags) run(ctx context.Context, e *cluster.Env, args []string) error {
	switch {
	case e.Given("ttl") && f.ttl <= 0:
		return config.Usagef("--ttl: %s is not positive: leave it out for an entry that lives for ever", f.ttl)
	case f.ttl > cache.MaxTTL:
		return config.Usagef("--ttl: %s is more than %.0f hours: leave it out for an entry that lives for ever", f.ttl, cache.MaxTTL.Hours())
	}
	key := args[0]
	value, err := e.Argument(ctx, args[1], "VALUE-JSON", `'{"name": "Ada"}' or '"text"'`)
	if err != nil {
		return err
	}
	return withCache(ctx, e, key, func(_ *cluster.Client, c *cache.Cache) error {
		if _, err := c.SaveWith(ctx, key, value, cache.SaveOptions{TTL: f.ttl, IfAbsent: f.ifAbsent}); err != nil {
			return err
		}
		return e.WriteResult(map[string]any{"key": key, "saved": true}, "saved "+key)
	})
}

func del(ctx context.Context, e *cluster.Env, args []string) error {
	key := args[0]
	return withCache(ctx, e, key, func(_ *cluster.Client, c *cache.Cache) error {
		there, err := c.Destroy(ctx, key)
		switch {
		case err != nil:
			return err
		case !there:
			return cache.ErrNotFound
		default:
			return e.WriteResult(map[string]any{"key": key, "destroyed": true}, "destroyed "+key)
		}
	})
}

func keys(ctx context.Context, e *cluster.Env, args []string) error {
	return withCache(ctx, e, globOf(args), func(_ *cluster.Client, c *cache.Cache) error {
		keys := []string{}
		for key, err := range c.Keys(ctx, globOf(args)) {
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
		if e.JSON() {
			return e.WriteJSON(keys)
		}
		if len(keys) == 0 {
			e.Notef("no key matches %s", globOf(args))
		}
		for _, key := range keys {
			if err := e.WriteLine(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Lock is a lock in the JSON output of "cache locks".
type Lock struct {
	Key       string    `json:"key"`
	Holder    string    `json:"holder"`
	Fence     int64     `json:"fence,omitempty"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // on Redis's clock; the holder may renew the lock
	Waited    bool      `json:"waited"`
}

func locks(ctx context.Context, e *cluster.Env, args []string) error {
	return withCache(ctx, e, globOf(args), func(reach *cluster.Client, c *cache.Cache) error {
		now, err := reach.Time(ctx)
		if err != nil {
			return err
		}
		locks := []Lock{}
		for l, err := range c.Locks(ctx, globOf(args)) {
			if err != nil {
				return err
			}
			locks = append(locks, Lock{Key: l.Key, Holder: l.Holder, Fence: l.Fence, ExpiresAt: l.Expires.UTC(), Waited: l.Waited})
		}
		slices.SortFunc(locks, func(a, b Lock) int { return strings.Compare(a.Key, b.Key) })
		if e.JSON() {
			return e.WriteJSON(locks)
		}
		if len(locks) == 0 {
			return e.WriteLine("no locks")
		}
		rows := [][]string{{"KEY", "HOLDER", "FENCE", "LEFT", "WAITED"}}
		for _, l := range locks {
			left, waited := "-", "no"
			if !l.ExpiresAt.IsZero() {
				left = max(l.ExpiresAt.Sub(now), 0).Round(time.Second).String()
			}
			if l.Waited {
				waited = "yes"
			}
			rows = append(rows, []string{l.Key, l.Holder, strconv.FormatInt(l.Fence, 10), left, waited})
		}
		return e.WriteTable(rows)
	})
}

func globOf(args []string) string {
	if len(args) == 0 {
		return "*"
	}
	return args[0]
}
