package link

import (
	"context"
	"crypto/sha1" // Redis names scripts by their SHA-1; security does not depend on it.
	"encoding/hex"
	"regexp"
	"strings"
	"sync"
	"unique"

	"github.com/redis/go-redis/v9"
)

// Processor runs one command: a client, a connection, or a pipeline.
type Processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// Script is a Lua script, sent as its SHA-1, and in full only when Redis does not know
// it. The client library never repeats the script: after a lost reply the error says
// that the outcome is unknown (see [Retry]).
//
// All scripts reply in one format, which [Script.Call] reads:
//
//   - a single value, such as a number, a text or nil, is the result
//   - a table {'OK', field, …} is a result of several fields
//   - {'WORD', detail, …} says why the script refused ([RefusedError]); nothing was
//     written unless the script's header says otherwise
//   - {'WRONGTYPE', key, type} names a key of another program and its type
//     ([WrongTypeError]); a WRONGTYPE error of one of the script's commands counts as well
//
// The header of the script's file has "name: purpose", KEYS, ARGV and Returns, which
// lists the words.
type Script struct {
	source string
	sha    any // a string, as an any so that a run does not allocate one
}

// NewScript joins a script from parts: first the snippets that it shares with other
// scripts, then its own text.
func NewScript(parts ...string) *Script {
	// unique: a thousand nodes that make the same script hold its text once.
	source := unique.Make(strings.Join(parts, "\n")).Value()
	sum := sha1.Sum([]byte(source))
	s := &Script{source: source, sha: hex.EncodeToString(sum[:])}
	if all := header.FindAllStringSubmatch(parts[len(parts)-1], -1); len(all) > 0 {
		names.Store(s.sha, all[len(all)-1][1])
	}
	return s
}

// header is the header of a script's own text, which has KEYS.
var header = regexp.MustCompile(`(?m)^-- (\w+): .*\n(?:--.*\n)*?-- KEYS `)

var names sync.Map //nolint:gochecknoglobals // of the scripts of the program, by their SHA-1: there are as many as files

// CommandName returns a name for a command for metrics and traces: that of the script, such as
// "claim", or the command's own in lower case.
func CommandName(cmd redis.Cmder) string {
	name := cmd.Name()
	if args := cmd.Args(); name == "evalsha" && len(args) > 1 {
		if of, known := names.Load(args[1]); known {
			return of.(string) //nolint:forcetypeassert // nothing else is stored
		}
	}
	return name
}

// Source returns the Lua text as it is sent to Redis.
func (s *Script) Source() string { return s.source }

// Call executes the script and returns its result. keys[0] decides the node of a
// Redis Cluster. The error is a [*RefusedError], a [*WrongTypeError], an
// [ErrMalformedReply], or an error of [Explain].
func (s *Script) Call(ctx context.Context, c Processor, keys []string, args ...any) (Reply, error) {
	return ReplyOf(s.Run(ctx, c, keys, args...))
}

// CallAfter is [Script.Call] in one transaction (MULTI) with commands that come before: Redis
// runs all of them with nothing in between, or none.
func (s *Script) CallAfter(
	ctx context.Context, c redis.UniversalClient, first func(redis.Pipeliner), keys []string, args ...any,
) (Reply, error) {
	run := func(verb string, script any) *redis.Cmd {
		cmd := s.command(ctx, verb, script, wordsOf(keys, args))
		all, _ := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			first(p)
			return p.Process(ctx, cmd)
		})
		if redis.HasErrorPrefix(cmd.Err(), "EXECABORT") { // for what one of the commands said, or EXEC
			for _, other := range all {
				if err := other.Err(); err != nil && !redis.HasErrorPrefix(err, "EXECABORT") {
					cmd.SetErr(err)
					break
				}
			}
		}
		return cmd
	}
	cmd := run("evalsha", s.sha)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = run("eval", s.source)
	}
	return ReplyOf(cmd)
}

// Run puts the script into a pipeline, after which [ReplyOf] reads the reply. To run
// a script by itself, use [Script.Call].
func (s *Script) Run(ctx context.Context, c Processor, keys []string, args ...any) *redis.Cmd {
	return s.RunWords(ctx, c, wordsOf(keys, args))
}

// RunWords is [Script.Run] of words that the caller has put together: two that RunWords
// fills in, the number of keys, the keys, and the arguments. Keys and arguments may be
// pointers to strings.
func (s *Script) RunWords(ctx context.Context, c Processor, words []any) *redis.Cmd {
	cmd := s.command(ctx, "evalsha", s.sha, words)
	_ = c.Process(ctx, cmd)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = s.command(ctx, "eval", s.source, words)
		_ = c.Process(ctx, cmd)
	}
	return cmd
}

func wordsOf(keys []string, args []any) []any {
	words := make([]any, 2, 3+len(keys)+len(args))
	words = append(words, len(keys))
	for _, k := range keys {
		words = append(words, k)
	}
	return append(words, args...)
}

func (s *Script) command(ctx context.Context, verb string, script any, words []any) *redis.Cmd {
	words[0], words[1] = verb, script
	cmd := redis.NewCmd(ctx, words...)
	if words[2] != 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd
}

// TextSize returns how many bytes the texts among the arguments of a command have. Numbers
// do not count.
func TextSize(args []any) int {
	n := 0
	for _, a := range args {
		switch a := a.(type) {
		case string:
			n += len(a)
		case []byte:
			n += len(a)
		}
	}
	return n
}
