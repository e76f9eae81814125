package link

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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

// wrongTypeHook is a hook of the client library that turns refusals for a key's type into a
// [WrongTypeError] which names the key and its type. It asks Redis for what the refusal does
// not say; commands that succeed cost nothing.
type wrongTypeHook struct{}

func (wrongTypeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (wrongTypeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !refusedType(cmd, err) {
			return err
		}
		nameWrongType(ctx, cmd, err, func(probes []redis.Cmder) {
			for _, probe := range probes {
				_ = next(ctx, probe)
			}
		})
		return cmd.Err()
	}
}

func (wrongTypeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if !refusedType(cmd, cmd.Err()) {
				continue
			}
			nameWrongType(ctx, cmd, cmd.Err(), func(probes []redis.Cmder) { _ = next(ctx, probes) })
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

// nameWrongType gives the command a [WrongTypeError] as its error if a key of the namespace
// has another type than [Keys] says. It leaves other errors alone, such as those of a
// handler's own keys. ask sends commands to the same Redis.
func nameWrongType(ctx context.Context, cmd redis.Cmder, err error, ask func([]redis.Cmder)) {
	key, refused := refusedKey(cmd)
	candidates := []string{key}
	if key == "" {
		candidates = keysOf(cmd)
	}
	probes := make([]redis.Cmder, len(candidates))
	for i, key := range candidates {
		probes[i] = redis.NewStatusCmd(ctx, "type", key)
	}
	ask(probes)
	cmd.SetErr(err)
	for i, probe := range probes {
		is, _ := probe.(*redis.StatusCmd)
		needed := kindOf(candidates[i])
		if kind := is.Val(); key != "" || needed != "" && kind != "" && kind != "none" && kind != needed {
			cmd.SetErr(&WrongTypeError{Key: candidates[i], Type: kind})
			return
		}
	}
	if refused {
		cmd.SetErr(&WrongTypeError{})
	}
}

// keysOf returns the keys that a command may have touched: its own, and for a script all
// keys of its namespace with fixed names, which scripts derive from their first key.
func keysOf(cmd redis.Cmder) (keys []string) {
	args := cmd.Args()
	text := func(i int) string {
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
