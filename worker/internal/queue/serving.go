package queue

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
)

// namedQueues is the most queues that a session names in each claim. More of them are a
// stored list: what a claim costs then depends on the queues that have tasks.
const namedQueues = 16

// listOf returns the name of the stored list of a session's queues: sessions with the same
// queues in the same order, and the same weights, share a list.
func listOf(c SessionConfig) string {
	digest := sha256.New()
	for _, q := range c.Queues {
		_, _ = fmt.Fprintf(digest, "%s %d\n", q, c.Weights[q])
	}
	_, _ = io.WriteString(digest, flagOf(len(c.Weights) > 0))
	return hex.EncodeToString(digest.Sum(nil)[:10])
}

// storeList stores the list of the session's queues.
func (s *Session) storeList(ctx context.Context) error {
	args := make([]any, 1, 1+2*len(s.cfg.Queues))
	args[0] = s.list
	for rank, q := range s.cfg.Queues {
		if len(s.cfg.Weights) > 0 {
			rank = s.weight(q)
		}
		args = append(args, rank, q)
	}
	_, err := serveScript.Call(ctx, s.cfg.Redis, s.cfg.Keys.TaskKeys(), args...)
	return err
}

// weight returns the weight of a queue in a draw.
func (s *Session) weight(queue string) int { return max(s.cfg.Weights[queue], 1) }

// withOrder appends to the arguments of a claim how it looks at the queues: as they were
// given or, with weights, at random in proportion to these.
func (s *Session) withOrder(args ...any) []any {
	switch {
	case s.list == "":
		args = append(args, len(s.cfg.Queues))
		for _, q := range s.order() {
			args = append(args, q)
		}
		return args
	case len(s.cfg.Weights) == 0:
		return append(args, "@"+s.list+" ")
	default:
		return append(args, fmt.Sprintf("@%s %d", s.list, 1+rand.N(math.MaxInt32-1))) //nolint:gosec // not for secrets
	}
}

// order returns the queues in the order in which this claim looks at them: as
// they were given or, with weights, at random in proportion to these.
func (s *Session) order() []string {
	if len(s.cfg.Weights) == 0 {
		return s.cfg.Queues
	}
	// Exponential variates of the weights' rates: the smallest wins with the
	// probability of its weight, then the next among the rest.
	at := map[string]float64{}
	for _, q := range s.cfg.Queues {
		at[q] = -math.Log(1-rand.Float64()) / float64(s.weight(q)) //nolint:gosec // not for secrets
	}
	return slices.SortedFunc(slices.Values(s.cfg.Queues), func(a, b string) int { return cmp.Compare(at[a], at[b]) })
}
