package link

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// WrongTypeError is the error of a command or script that Redis refused because a key of
// the namespace has another type: another program uses the same name. Nothing was written.
type WrongTypeError struct {
	// Key is the key's name; "" when it is not known.
	Key string
	// Type is the key's type: "list", "hash", …; "" when that is not known.
	Type string
}

// Error implements error. The text names the key, its type and the type that is needed,
// and says what to do.
func (e *WrongTypeError) Error() string {
	if e.Key == "" {
		return "a key on Redis belongs to something else: its type is wrong; rename or delete it"
	}
	is := "its type is wrong"
	switch needed := kindOf(e.Key); {
	case e.Type == "":
	case needed == "":
		is += " (" + e.Type + ")"
	case needed == e.Type:
		is = fmt.Sprintf("it is a %s with a value that is not ours", e.Type)
	default:
		is = fmt.Sprintf("it is a %s, a %s is needed", e.Type, needed)
	}
	return "the key " + strconv.Quote(e.Key) + " on Redis belongs to something else: " + is + "; rename or delete it"
}

// RedisError implements redis.Error: Redis has answered.
func (e *WrongTypeError) RedisError() {}

// IsWrongType reports whether err is a [WrongTypeError], or Redis's own error for a key of
// the wrong type.
func IsWrongType(err error) bool {
	_, ok := errors.AsType[*WrongTypeError](err)
	return ok || saysWrongType(err)
}

// saysWrongType reports whether err is Redis's own error. Its word may stand inside the
// text: Redis before 7 wraps the errors of a script's commands.
func saysWrongType(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && strings.Contains(reply.Error(), "WRONGTYPE ")
}

// foundAge is how long the type of a foreign key counts as known.
const foundAge = time.Second

// wrongTypeHook is a hook of the client library that turns refusals for a key's type into a
// [WrongTypeError] which names the key and its type. It asks Redis for what the refusal does
// not say, with one command, and remembers the answer for [foundAge]: many nodes may fail
// with the same key. Commands that succeed cost nothing.
type wrongTypeHook struct {
	mu    sync.Mutex
	found map[string]foundType // by key
}

type foundType struct {
	kind string
	at   time.Time
}

func newWrongTypeHook() *wrongTypeHook { return &wrongTypeHook{found: map[string]foundType{}} }

func (h *wrongTypeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *wrongTypeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !refusedType(cmd, err) {
			return err
		}
		h.name(ctx, cmd, err, func(probe redis.Cmder) error { return next(ctx, probe) })
		return cmd.Err()
	}
}

func (h *wrongTypeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if !refusedType(cmd, cmd.Err()) {
				continue
			}
			h.name(ctx, cmd, cmd.Err(), func(probe redis.Cmder) error { return next(ctx, []redis.Cmder{probe}) })
			if saysWrongType(err) {
				err = cmd.Err() // that of the first command that failed
			}
		}
		return err
	}
}

// refusedType reports whether Redis or a script refused the command, which ended with err,
// for a key's type.
func refusedType(cmd redis.Cmder, err error) bool {
	if err != nil {
		return saysWrongType(err)
	}
	_, refused := refusedKey(cmd)
	return refused
}

// refusedKey returns the key of a script's reply {'WRONGTYPE', key}, which lacks the type.
func refusedKey(cmd redis.Cmder) (key string, refused bool) {
	script, ok := cmd.(*redis.Cmd)
	if !ok {
		return "", false
	}
	fields, _ := script.Val().([]any)
	if len(fields) == 0 || len(fields) > 2 || fields[0] != "WRONGTYPE" {
		return "", false
	}
	if len(fields) > 1 {
		key, _ = fields[1].(string)
	}
	return key, true
}

// name gives the command a [WrongTypeError] as its error if a key of the namespace has
// another type than [Keys] says. It leaves other errors alone, such as those of a handler's
// own keys. ask sends a command to the same Redis.
func (h *wrongTypeHook) name(ctx context.Context, cmd redis.Cmder, err error, ask func(redis.Cmder) error) {
	key, refused := refusedKey(cmd)
	candidates := []string{key}
	if key == "" {
		candidates = keysOf(cmd)
	}
	cmd.SetErr(err)
	if wrong := h.find(ctx, candidates, key != "", ask); wrong != nil {
		cmd.SetErr(wrong)
	} else if refused {
		cmd.SetErr(&WrongTypeError{})
	}
}

// find returns the error for the first of the keys that has a type which is not its own. A
// script has named the one key that is certain.
func (h *wrongTypeHook) find(ctx context.Context, keys []string, certain bool, ask func(redis.Cmder) error) *WrongTypeError {
	h.mu.Lock()
	for _, key := range keys {
		if found, ok := h.found[key]; ok && time.Since(found.at) < foundAge {
			h.mu.Unlock()
			return &WrongTypeError{Key: key, Type: found.kind}
		}
	}
	h.mu.Unlock()
	probe := typesScript.command(ctx, "eval", typesScript.Source(), wordsOf(keys, nil))
	_ = ask(probe)
	types, _ := ReplyOf(probe)
	for i, key := range keys {
		kind, _ := types.field(i).(string) // "" without an answer
		needed := kindOf(key)
		if certain || needed != "" && kind != "" && kind != "none" && kind != needed {
			h.mu.Lock()
			maps.DeleteFunc(h.found, func(_ string, f foundType) bool { return time.Since(f.at) >= foundAge })
			h.found[key] = foundType{kind, time.Now()}
			h.mu.Unlock()
			return &WrongTypeError{Key: key, Type: kind}
		}
	}
	return nil
}

var typesScript = NewScript(luaTypes)

//go:embed lua/types.lua
var luaTypes string

// keysOf returns the keys that a command may have touched: its own, and for a script all
// keys of its namespace with fixed names, which scripts derive from their first key.
func keysOf(cmd redis.Cmder) (keys []string) {
	args := cmd.Args()
	text := func(i int) string {
		if s, ok := args[i].(*string); ok {
			return *s
		}
		s, _ := args[i].(string)
		return s
	}
	if name := cmd.Name(); name != "eval" && name != "evalsha" {
		if len(args) > 1 {
			keys = append(keys, text(1))
		}
		return keys
	}
	n, _ := args[2].(int)
	for i := 3; i < 3+n && i < len(args); i++ {
		keys = append(keys, text(i))
	}
	if len(keys) == 0 || kindOf(keys[0]) == "" {
		return keys // a script of the cache, which touches no others
	}
	if tag, _, ok := strings.Cut(keys[0], "}:"); ok {
		for _, k := range kinds {
			if !strings.HasSuffix(k.name, ":") {
				keys = append(keys, tag+"}:"+k.name)
			}
		}
	}
	return keys
}
