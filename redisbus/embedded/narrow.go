package embedded

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
)

// narrow gives miniredis the numbers of 64 bits that it lacks in a process of 32 bits, where
// its integers are Go's int: a lifetime of more than 24 days was an error or another lifetime.
//
//   - Lifetimes in milliseconds beyond 32 bits are set in seconds, at most 68 years.
//   - PTTL answers in whole seconds where it has to.
type narrow struct{ serving *server.Server }

// run runs a command in another way than miniredis does, and reports whether it did.
func (n narrow) run(c *server.Peer, name string, args ...string) bool {
	words := n.rewrite(name, args)
	if words == nil {
		return name == "PTTL" && n.answerPTTL(c, args)
	}
	n.serving.Dispatch(c, words)
	return true
}

// rewrite returns the command that does what the given one cannot do with 32 bits, nil for
// one that can stay.
func (n narrow) rewrite(name string, args []string) []string {
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
	}
	return nil
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
func (n narrow) answerPTTL(c *server.Peer, args []string) bool {
	if len(args) != 1 {
		return false
	}
	reply := newInner(c.Ctx).run(n.serving, []string{"TTL", args[0]})
	var left int64
	if _, err := fmt.Sscanf(string(reply), ":%d\r\n", &left); err != nil || left < math.MaxInt32/1000 {
		return false
	}
	c.WriteRaw(fmt.Sprintf(":%d\r\n", left*1000))
	return true
}
