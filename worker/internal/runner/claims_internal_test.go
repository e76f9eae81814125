package runner

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/internal/queue"
)

// resting returns a runner with free slots whose claims sleep until it is woken.
func resting() *Runner {
	r := &Runner{slots: 2, session: &queue.Session{}, woken: make(chan struct{}, 1), idling: true}
	r.changed.L = &r.mu
	return r
}

func TestAWakeBesideACommitIsNotLost(t *testing.T) {
	for name, c := range map[string]struct {
		before, during bool // when the wake comes
		claims         bool // whether the commit takes a claim along
		wakes          bool
	}{
		"before a commit that takes no claim along": {before: true, wakes: true},
		"during a commit that takes no claim along": {during: true, wakes: true},
		"before a claim": {before: true, claims: true}, // which sees the task
		"during a claim": {during: true, claims: true, wakes: true},
		"never":          {claims: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := resting()
			if c.before {
				r.Wake()
			}
			require.Positive(t, r.beginClaim().Want)
			if c.during {
				r.Wake()
			}
			if c.claims {
				r.endClaim(woken)
			} else {
				r.leaveClaim()
			}
			require.Equal(t, c.wakes, len(r.woken) > 0 || !r.idling)
		})
	}
}

// The claims were woken, and have not said so yet, when a commit goes without a claim.
func TestAWakeThatWasTakenBesideACommitIsNotLost(t *testing.T) {
	r := resting()
	r.Wake()
	<-r.woken
	require.Positive(t, r.beginClaim().Want)
	r.idling = false
	r.leaveClaim()
	require.False(t, r.idling)
}
