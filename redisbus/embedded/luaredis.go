package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
)

// inner is the connection that the commands of scripts come from.
type inner struct {
	peer  *server.Peer
	out   *bufio.Writer
	reply bytes.Buffer
}

// newInner returns an inner connection; state is what miniredis keeps of it.
func newInner(state any) *inner {
	in := &inner{}
	in.out = bufio.NewWriter(&in.reply)
	in.peer = server.NewPeer(in.out)
	in.peer.Ctx = state
	return in
}

// keptReply is the size in bytes up to which the buffer of replies is kept.
const keptReply = 64 << 10

// run runs a command. The reply is valid until the next.
func (in *inner) run(serving *server.Server, words []string) []byte {
	if in.reply.Cap() > keptReply {
		in.reply = bytes.Buffer{}
	}
	in.reply.Reset()
	serving.Dispatch(in.peer, words)
	_ = in.out.Flush()
	return in.reply.Bytes()
}

// functions are those of the table redis.
func (i *interpreter) functions() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"call": func(l *lua.LState) int {
			value, failed := i.command(l)
			if failed != "" {
				i.call = failed
				l.Error(lua.LString(failed), 0)
				return 0
			}
			l.Push(value)
			return 1
		},
		"pcall": func(l *lua.LState) int {
			value, failed := i.command(l)
			if failed != "" {
				value = oneField(l, "err", failed)
			}
			l.Push(value)
			return 1
		},
		"error_reply": func(l *lua.LState) int {
			text := strings.TrimPrefix(l.CheckString(1), "-")
			if !strings.Contains(text, " ") {
				text = "ERR " + text
			}
			l.Push(oneField(l, "err", text))
			return 1
		},
		"status_reply": func(l *lua.LState) int {
			l.Push(oneField(l, "ok", l.CheckString(1)))
			return 1
		},
		"sha1hex": func(l *lua.LState) int {
			l.Push(lua.LString(sha1Hex(l.CheckString(1))))
			return 1
		},
		"log":                func(*lua.LState) int { return 0 },
		"set_repl":           func(*lua.LState) int { return 0 },
		"replicate_commands": func(l *lua.LState) int { l.Push(lua.LTrue); return 1 },
	}
}

// command runs the command on the stack, and returns its reply or Redis's error.
func (i *interpreter) command(l *lua.LState) (value lua.LValue, failed string) {
	words := make([]string, l.GetTop())
	if len(words) == 0 {
		return nil, "ERR Please specify at least one argument for this redis.call"
	}
	for n := range words {
		switch word := l.Get(n + 1).(type) {
		case lua.LString:
			words[n] = string(word)
		case lua.LNumber:
			words[n] = word.String()
		default:
			return nil, "ERR Lua redis lib command arguments must be strings or integers"
		}
	}
	r := replyReader{l: l, left: i.inner.run(i.serving, words)}
	value, err := r.next()
	if err != nil {
		return nil, err.Error()
	}
	return value, ""
}

func oneField(l *lua.LState, name, text string) *lua.LTable {
	table := l.CreateTable(0, 1)
	table.RawSetString(name, lua.LString(text))
	return table
}

// replyReader turns a reply in RESP2 into Lua's values.
type replyReader struct {
	l    *lua.LState
	left []byte
}

var errNoReply = errors.New("ERR the command gave no reply")

// next returns the next value. Its error is an error reply.
func (r *replyReader) next() (lua.LValue, error) {
	line, left, found := bytes.Cut(r.left, []byte("\r\n"))
	if !found || len(line) == 0 {
		return nil, errNoReply
	}
	r.left = left
	text := string(line[1:])
	switch line[0] {
	case '+':
		return oneField(r.l, "ok", text), nil
	case '-':
		return nil, errors.New(text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return nil, errNoReply
	case line[0] == ':':
		return lua.LNumber(n), nil
	case n < 0:
		return lua.LFalse, nil
	case line[0] == '$':
		return r.bulk(int(n))
	case line[0] == '*':
		return r.array(int(n))
	}
	return nil, errNoReply
}

func (r *replyReader) bulk(n int) (lua.LValue, error) {
	if len(r.left) < n+len("\r\n") {
		return nil, errNoReply
	}
	text := lua.LString(r.left[:n])
	r.left = r.left[n+len("\r\n"):]
	return text, nil
}

func (r *replyReader) array(n int) (lua.LValue, error) {
	table := r.l.CreateTable(n, 0)
	for i := range n {
		value, err := r.next()
		if err != nil {
			return nil, err
		}
		table.RawSetInt(i+1, value)
	}
	return table, nil
}

// integer returns the digits of a number without its fraction, as Redis does.
func integer(n lua.LNumber) string { return strconv.FormatInt(int64(n), 10) }
