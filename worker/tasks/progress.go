package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Progress is how far a running task says it is.
type Progress struct {
	Fraction float64 `json:"fraction"` // 0 to 1
	Note     string  `json:"note,omitempty"`
}

// SetProgress notes how far the task that the context belongs to is, from 0 to 1,
// for those who look at it; it is forgotten when the run ends well. It costs a
// round trip. The error is [ErrFenced] when the task is not this run's any more.
// Outside a task it panics with [ErrNoTask].
func SetProgress(ctx context.Context, fraction float64, note string) error {
	x, ok := ctx.Value(contextKey{}).(*run)
	if !ok {
		panic(ErrNoTask)
	}
	if math.IsNaN(fraction) || fraction < 0 || fraction > 1 {
		return fmt.Errorf("progress %v: use a fraction from 0 to 1", fraction)
	}
	text, err := json.Marshal(Progress{fraction, clip(note, 500)})
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	c := x.runner.Client
	reply, err := progressScript.Run(ctx, c.redis, []string{c.keys.Tasks()}, x.runner.Incarnation, x.claimed.id, text).Slice()
	if err != nil {
		return fmt.Errorf("progress: %w", link.Explain(err))
	}
	if err := protocolError(reply); err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	return nil
}
