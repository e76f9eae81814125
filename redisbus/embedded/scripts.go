package embedded

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// scripts runs the Lua scripts in place of miniredis, which makes a new interpreter for every
// script and new buffers for every command in it: a script of fifteen commands left 250 KiB
// to the garbage collector, which took half of the time in which a thousand nodes started.
// Here one interpreter runs all scripts, as in Redis.
//
// miniredis runs those in a transaction, and those of a connection that has chosen another
// database or RESP3.
type scripts struct {
	redis   *miniredis.Miniredis
	serving *server.Server

	mu    sync.Mutex
	known map[string]*script // by their SHA-1

	// nested is what miniredis keeps of a connection whose commands come from a script: they
	// do not lock redis.
	nested any
	// interpreter is used while redis is locked; nil before the first script and after a
	// script that failed.
	interpreter *interpreter
}

// nestedCommand is a command that only newScripts calls.
const nestedCommand = "STELLAR.NESTED"

func newScripts(redis *miniredis.Miniredis, serving *server.Server) (*scripts, error) {
	s := &scripts{redis: redis, serving: serving, known: map[string]*script{}}
	err := serving.Register(nestedCommand, func(c *server.Peer, _ string, _ []string) {
		s.nested = c.Ctx
		c.WriteOK()
	})
	if err != nil {
		return nil, err
	}
	serving.Dispatch(newInner(nil).peer, []string{"EVAL", "return redis.call('" + nestedCommand + "')", "0"})
	return s, nil
}

// run handles a command in place of miniredis, and reports whether it did.
func (s *scripts) run(c *server.Peer, name string, args []string) bool {
	switch {
	case len(args) == 0:
	case name == "SCRIPT":
		return s.manage(c, strings.ToUpper(args[0]), args[1:])
	case name == "EVAL":
		return s.eval(c, compile(args[0]), args[1:])
	case name == "EVALSHA":
		s.mu.Lock()
		known := s.known[strings.ToLower(args[0])]
		s.mu.Unlock()
		if known != nil && !s.eval(c, known, args[1:]) {
			s.serving.Dispatch(c, append([]string{"EVAL", known.source}, args[1:]...))
		}
		return known != nil
	}
	return false
}

// manage handles the command SCRIPT.
func (s *scripts) manage(c *server.Peer, verb string, args []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case verb == "FLUSH":
		clear(s.known)
	case verb == "LOAD" && len(args) == 1:
		if made := compile(args[0]); made != nil {
			s.known[made.sha] = made
		}
	case verb == "EXISTS" && len(args) > 0 && isPlain(c):
		c.WriteLen(len(args))
		for _, sha := range args {
			n := 0
			if s.known[strings.ToLower(sha)] != nil {
				n = 1
			}
			c.WriteInt(n)
		}
		return true
	}
	return false
}

// eval runs a script with the arguments that follow it in EVAL and EVALSHA. It reports false
// where miniredis has to handle the command, be it to say what is wrong with it.
func (s *scripts) eval(c *server.Peer, what *script, args []string) bool {
	if what == nil || len(args) == 0 || !isPlain(c) {
		return false
	}
	keys, err := strconv.Atoi(args[0])
	if err != nil || keys < 0 || keys > len(args)-1 {
		return false
	}
	s.mu.Lock()
	s.known[what.sha] = what
	s.mu.Unlock()
	s.redis.Lock()
	defer s.redis.Unlock()
	if s.interpreter == nil {
		s.interpreter = newInterpreter(s.serving, s.nested)
	}
	if !s.interpreter.run(c, what, args[1:1+keys], args[1+keys:]) {
		s.interpreter = nil
	}
	return true
}

// isPlain reports whether miniredis would run a command of the connection at once, in
// database 0, and with a reply in RESP2: the connection is in no transaction, and is not the
// inner one of a script. There is no other way to learn this from miniredis.
func isPlain(c *server.Peer) bool {
	if c.Ctx == nil { // the connection's first command
		return !c.Resp3
	}
	state := reflect.ValueOf(c.Ctx).Elem()
	return !c.Resp3 && !state.FieldByName("nested").Bool() &&
		state.FieldByName("transaction").IsNil() && state.FieldByName("selectedDB").Int() == 0
}

func sha1Hex(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}
