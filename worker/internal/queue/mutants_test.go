package queue

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

var (
	allMutants = flag.Bool("mutants", false, "run all mutants of the scripts, not a sample")
	mutantsOf  = flag.String("mutants-of", "", "run all mutants of these files, separated by commas")
)

// Bounds of the search that a mutant must not outlive, and in how many parts the
// table is sampled.
const (
	mutantRuns   = 120
	mutantSteps  = 80
	mutantSample = 24
)

// mutant is a mistake in one script or snippet: old, which stands there once,
// becomes new.
type mutant struct{ file, old, new string }

// A suite that passes with a mistake in the protocol shows nothing: each of these
// must make the model, or a named case of mutants_cases_test.go, fail.
func TestMutantsOfTheScriptsAreCaught(t *testing.T) {
	cfg := redistest.Start(t, pages...).Config()
	c := redistest.Client(t, cfg)
	listen(t, c, link.NewKeys("model"))
	suite := newSuite(t)
	require.NoError(t, hunt(t.Context(), c, suite, func(source string) string { return source }, 30), "as they are, the scripts are sound")
	slices.SortStableFunc(suite, func(a, b *suiteCase) int { return cmp.Compare(a.took, b.took) }) // six of two hundred take most of the time
	offset := rand.IntN(mutantSample)
	survivors, runs := []string{}, 0
	for i, mut := range allMistakes {
		change := mut.change(t)
		if named := slices.Contains(strings.Split(*mutantsOf, ","), mut.file); !named && (*mutantsOf != "" || !*allMutants && i%mutantSample != offset) {
			continue
		}
		runs++
		began := time.Now()
		err := hunt(t.Context(), c, suite, change, mutantRuns)
		t.Logf("%5.2f s %s: %q: %v", time.Since(began).Seconds(), mut.file, mut.old, first(err))
		if strings.Contains(first(err), "BUSY ") { // a slow machine, or a script that never ends and would fail all mutants after it
			require.Eventually(t, func() bool { return c.Ping(t.Context()).Err() == nil }, time.Minute, 100*time.Millisecond, "take %q out", mut.new)
			err = hunt(t.Context(), c, suite, change, mutantRuns)
		}
		if err == nil {
			survivors = append(survivors, fmt.Sprintf("%s: %q → %q", mut.file, mut.old, mut.new))
		}
	}
	require.Empty(t, survivors, "of %d mutants these survive", runs)
}

func first(err error) string {
	if err == nil {
		return "SURVIVES"
	}
	var said []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, ".go:") && !strings.HasPrefix(line, "/") {
			said = append(said, line)
		}
	}
	return strings.Join(said[:min(len(said), 4)], " ")
}

// change returns what makes the mistake in every script that the file is part of.
func (m mutant) change(t *testing.T) func(source string) string {
	t.Helper()
	text := source(m.file)
	require.Equal(t, 1, strings.Count(text, m.old), "%s must hold once: %s", m.file, m.old)
	mutated := strings.Replace(text, m.old, m.new, 1)
	return func(source string) string { return strings.Replace(source, text, mutated, 1) }
}

// allMistakes are the mutants of all files.
var allMistakes = slices.Concat(
	mutants, indexMutants, workMutants, tendedMutants, bodyMutants, alienMutants, retainedMutants, bulkMutants, stepMutants, turnMutants,
	batchMutants, hookMutants, setMutants, editMutants, returnMutants, parkedMutants,
)

// allCases are the cases of all files.
var allCases = []map[string]func(*machine){
	mutantCases, boundCases, nodeCases, groupCases, clockCases, workCases, indexCases, bodyCases, alienCases, tendedCases, stepCases, turnCases,
	batchCases, gatheringCases, hookCases, foundCases, setCases, editCases, returnCases, retainedCases, bulkCases, rateCases, parkedCases,
}

// suiteCase is a case and how long it took when it last passed.
type suiteCase struct {
	name string
	does func(*machine)
	took time.Duration
}

// newSuite returns all cases in the order of their names, which must differ.
func newSuite(t *testing.T) (suite []*suiteCase) {
	t.Helper()
	for _, cases := range allCases {
		for name, does := range cases {
			suite = append(suite, &suiteCase{name: name, does: does})
		}
	}
	slices.SortFunc(suite, func(a, b *suiteCase) int { return strings.Compare(a.name, b.name) })
	for i := range len(suite) - 1 {
		require.NotEqual(t, suite[i].name, suite[i+1].name, "two cases of one name")
	}
	return suite
}

// hunt returns how changed scripts fail, or nil.
func hunt(ctx context.Context, c *redis.Client, suite []*suiteCase, change func(string) string, runs int) error {
	back := swapScripts(func(source string) string { return clocked(change(source)) })
	defer back()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, one := range suite {
		began := time.Now()
		if err := attempt(func(v *verdict) {
			one.does(newMachine(ctx, v, c, func(_ string, most int) int { return most - 1 }))
		}); err != nil {
			return fmt.Errorf("case %s: %w", one.name, err)
		}
		one.took = time.Since(began)
	}
	for seed := range runs {
		if err := attempt(func(v *verdict) { wander(ctx, v, c, uint64(seed)) }); err != nil {
			return fmt.Errorf("run %d: %w", seed, err)
		}
	}
	return nil
}

// wander is a run of the model whose choices follow from a seed.
func wander(ctx context.Context, v *verdict, c *redis.Client, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 5))
	m := newMachine(ctx, v, c, func(_ string, most int) int { return r.IntN(most) })
	actions := m.actions()
	names := slices.Sorted(maps.Keys(actions))
	for range mutantSteps {
		m.step(actions[names[r.IntN(len(names))]])
	}
}

// verdict is what a run that may fail says.
type verdict struct{ said error }

func (v *verdict) Errorf(format string, args ...any) { v.said = fmt.Errorf(format, args...) }

func (v *verdict) FailNow() { panic(v) }

var errPanicked = errors.New("panicked")

func attempt(run func(*verdict)) (err error) {
	v := &verdict{}
	defer func() {
		switch r := recover(); {
		case r == nil:
		case r == any(v):
			err = v.said
		default:
			err = fmt.Errorf("%w: %v", errPanicked, r) // a reply that nobody expects
		}
	}()
	run(v)
	return v.said
}
