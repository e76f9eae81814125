package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// largePayload is the size in bytes from which on a payload has a key of its own, its body,
// and goes through no script: Lua would copy it four times. Below it the additional
// commands cost more.
const largePayload = 8 << 10

// bodyExpiry is for how long a body is kept that no task has: of a batch or commit that was
// not accepted, or whose late copy came when its task was gone.
const bodyExpiry = time.Minute

// BodyRef refers to the body of a task in its record, in place of the payload.
type BodyRef struct {
	Name string // drawn, as an id may be given to several tasks of which one is stored
	Size int    // in bytes
}

// refMark begins a [BodyRef] in a record. No JSON begins with it.
const refMark = "@"

// String returns the reference as scripts read it.
func (r BodyRef) String() string { return r.Name + "|" + strconv.Itoa(r.Size) }

// parseRef parses the payload of a record that begins with [refMark].
func parseRef(payload string) (BodyRef, bool) {
	text, marked := strings.CutPrefix(payload, refMark)
	if !marked {
		return BodyRef{}, false
	}
	name, size, _ := strings.Cut(text, "|")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || name == "" || strings.Trim(name, digits62) != "" {
		return BodyRef{}, false
	}
	r := BodyRef{name, n}
	return r, r.String() == text
}

// body is a payload that has a key of its own.
type body struct {
	name    string // empty: the payload is in the record
	payload []byte
}

func (b body) ref() BodyRef { return BodyRef{b.name, len(b.payload)} }

// errBodyExpired: a script came more than [bodyExpiry] after the first try to send it. The
// next try sends the bodies again.
var errBodyExpired = fmt.Errorf("a payload that was sent before has expired: %w", link.ErrUnavailable)

// callWith calls a script that stores tasks with these bodies, in one transaction.
func callWith(
	ctx context.Context, s *link.Script, c redis.UniversalClient, k link.Keys, bodies []body, args []any,
) (link.Reply, error) {
	keys := k.TaskKeys()
	if len(bodies) == 0 {
		return s.Call(ctx, c, keys, args...)
	}
	reply, err := s.CallAfter(ctx, c, func(p redis.Pipeliner) {
		for _, b := range bodies { // NX: an earlier copy may have been accepted
			p.SetNX(ctx, k.Body(b.name), b.payload, bodyExpiry)
		}
	}, keys, args...)
	if link.WordOf(err) == expiredWord {
		err = errBodyExpired
	}
	return reply, err
}

// readBytes bounds the bodies of one pipeline, and one body more.
const readBytes = 4 << 20

// errNoBody is the error of a body that is not there: somebody else ended its task, or
// removed the key.
var errNoBody = errors.New("the key of its payload is missing")

// Bodies reads bodies. It returns a payload or an error for each; err says that Redis did not
// answer.
func Bodies(ctx context.Context, c redis.UniversalClient, k link.Keys, refs []BodyRef) (payloads [][]byte, errs []error, err error) {
	payloads, errs = make([][]byte, len(refs)), make([]error, len(refs))
	for from := 0; from < len(refs); {
		to, size := from, 0
		for to < len(refs) && (to == from || size < readBytes) {
			size += refs[to].Size
			to++
		}
		got := make([]*redis.StringCmd, to-from)
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, r := range refs[from:to] {
				got[i] = p.Get(ctx, k.Body(r.Name))
			}
			return nil
		})
		for i, cmd := range got {
			if err := cmd.Err(); link.OutcomeOf(err) != link.Ran {
				return nil, nil, link.Explain(err)
			}
			payloads[from+i], errs[from+i] = refs[from+i].read(cmd)
		}
		from = to
	}
	return payloads, errs, nil
}

// read returns the body that a command got.
func (r BodyRef) read(got *redis.StringCmd) ([]byte, error) {
	payload, err := got.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, errNoBody
	case err == nil && len(payload) != r.Size:
		return nil, fmt.Errorf("its payload has %d bytes instead of %d", len(payload), r.Size)
	default:
		return payload, err
	}
}
