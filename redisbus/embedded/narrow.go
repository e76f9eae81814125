package embedded

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2/server"
)

// narrow gives miniredis the numbers of 64 bits that it lacks in a process of 32 bits, where
// its integers are Go's int: a script that returned a time in milliseconds returned
// -2147483648, and a lifetime of more than 24 days was an error or another lifetime.
//
//   - What a script returns beyond 32 bits is returned as digits. Readers of replies take
//     digits for numbers.
//   - Lifetimes in milliseconds beyond 32 bits are set in seconds, at most 68 years.
//   - PTTL answers in digits where it has to.
type narrow struct {
	serving *server.Server

	mu      sync.Mutex
	sources map[string]string // scripts by their SHA-1
}

func newNarrow(serving *server.Server) *narrow {
	return &narrow{serving: serving, sources: map[string]string{}}
}

// widening begins a script whose numbers are widened.
const widening = `
local function widen(v)
  if type(v) == 'number' and (v >= 2147483648 or v <= -2147483649) then
    return string.format('%.0f', v)
  end
  if type(v) == 'table' then
    for i, e in ipairs(v) do v[i] = widen(e) end
  end
  return v
end
return widen((function() `

// widened returns the script whose results are those of source, as digits beyond 32 bits.
func widened(source string) string { return widening + source + "\nend)())" }

// run runs a command in another way than miniredis does, and reports whether it did.
func (n *narrow) run(c *server.Peer, name string, args ...string) bool {
	if name == "SCRIPT" && len(args) > 0 {
		n.note(args[0], args[1:])
	}
	words := n.rewrite(name, args)
	if words == nil {
		return name == "PTTL" && n.answerPTTL(c, args)
	}
	n.serving.Dispatch(c, words)
	return true
}

// rewrite returns the command that does what the given one cannot do with 32 bits, nil for
// one that can stay.
func (n *narrow) rewrite(name string, args []string) []string {
	switch {
	case len(args) < 2:
	case name == "SET":
		option := 2 + slices.IndexFunc(args[2:], func(word string) bool { return strings.EqualFold(word, "PX") })
		if 2 <= option && option < len(args)-1 {
			return inSeconds(args, option+1, func(words []string) []string {
				words[option] = "EX"
				return append([]string{name}, words...)
			})
		}
	case name == "PEXPIRE" || name == "PSETEX":
		return inSeconds(args, 1, func(words []string) []string { return append([]string{name[1:]}, words...) })
	case name == "EVAL" && !strings.HasPrefix(args[0], widening):
		n.note("LOAD", args)
		return append([]string{name, widened(args[0])}, args[1:]...)
	case name == "EVALSHA":
		n.mu.Lock()
		defer n.mu.Unlock()
		if source, known := n.sources[strings.ToLower(args[0])]; known {
			return append([]string{"EVAL", widened(source)}, args[1:]...)
		}
	}
	return nil
}

// note remembers the sources of scripts as long as miniredis does. what is the subcommand of
// SCRIPT.
func (n *narrow) note(what string, args []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case strings.EqualFold(what, "FLUSH"):
		clear(n.sources)
	case strings.EqualFold(what, "LOAD") && len(args) > 0:
		sum := sha1.Sum([]byte(args[0])) //nolint:gosec // see the import
		n.sources[hex.EncodeToString(sum[:])] = args[0]
	}
}

// inSeconds returns the command that finish makes of args with seconds, rounded up, in place of
// the milliseconds at that index, or nil if 32 bits can hold these.
func inSeconds(args []string, at int, finish func([]string) []string) []string {
	ms, err := strconv.ParseInt(args[at], 10, 64)
	if err != nil || ms <= math.MaxInt32 {
		return nil
	}
	words := slices.Clone(args)
	words[at] = strconv.FormatInt(min((ms-1)/1000+1, math.MaxInt32), 10)
	return finish(words)
}

// answerPTTL answers in whole seconds if there are more than 32 bits of milliseconds.
func (n *narrow) answerPTTL(c *server.Peer, args []string) bool {
	if len(args) != 1 {
		return false
	}
	var reply bytes.Buffer
	out := bufio.NewWriter(&reply)
	inner := server.NewPeer(out)
	inner.Ctx = c.Ctx
	n.serving.Dispatch(inner, []string{"TTL", args[0]})
	_ = out.Flush()
	var left int64
	if _, err := fmt.Sscanf(reply.String(), ":%d\r\n", &left); err != nil || left < math.MaxInt32/1000 {
		return false
	}
	c.WriteBulk(strconv.FormatInt(left*1000, 10))
	return true
}
