package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc64"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

var update = flag.Bool("update", false, "rewrite the golden files of the transcripts")

// transcribed returns the full names of the commands that have a transcript: all but the
// pages of the manual and the scripts of the shells.
func transcribed() []string {
	known, _ := tree(nil)
	names := []string{""}
	for _, path := range everyCommand(known) {
		if len(path) == 1 || path[0] != "manual" && path[0] != "completion" {
			names = append(names, strings.Join(path, " "))
		}
	}
	return names
}

func goldenFile(command string) string {
	if command == "" {
		command = "stellar"
	}
	return filepath.Join("testdata", strings.ReplaceAll(command, " ", "-")+".txt")
}

// Every command has a transcript and its golden file: see [transcript] for how to write one.
func TestEveryCommandHasATranscript(t *testing.T) {
	t.Parallel()
	names := transcribed()
	for _, name := range names {
		_, there := transcripts[name]
		require.True(t, there, "%q: give it an entry in transcripts, see transcripts_test.go", name)
		_, err := os.Stat(goldenFile(name))
		require.True(t, err == nil || *update, "%s is missing: see transcripts_test.go", goldenFile(name))
	}
	for name := range transcripts {
		require.Contains(t, names, name, "no such command")
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	for _, file := range files {
		require.True(t, slices.ContainsFunc(names, func(name string) bool { return goldenFile(name) == file }), "%s: of no command", file)
	}
}

// periodics are periodic tasks, all of them paused: when they are due next differs.
var periodics = []string{"gone-120", "gone-60", "gone-json", "other", "report"}

func transcriptApp() *worker.App {
	app := enqueueApp()
	none := func(context.Context, any) error { return nil }
	tasks.Handle(app, tasks.Definition{Name: "letter", Queue: "post"}, none)
	tasks.Handle(app, tasks.Definition{Name: "fail", MaxAttempts: 1}, func(context.Context, any) error { return errors.New("no such mailbox") })
	tasks.Handle(app, tasks.Definition{Name: "ship", MaxAttempts: 1}, func(ctx context.Context, _ any) error {
		if _, err := tasks.Step(ctx, "charge", func(context.Context) (string, error) { return "paid", nil }); err != nil {
			return err
		}
		return tasks.Discard(errors.New("no such address"))
	})
	rpcregistry.Handle(app, "test.sum", func(_ context.Context, in struct{ A, B int }) (int, error) { return in.A + in.B, nil })
	for _, name := range periodics {
		app.RegisterPeriodic(tasks.Periodic{Name: name, Task: "echo", Schedule: tasks.Cron("0 6 * * *", time.UTC), Payload: map[string]int{"pages": 7}})
	}
	return app
}

// stage is where transcripts are recorded: a set of two nodes on the embedded Redis.
type stage struct {
	path    string // of the program
	dir     string // in which it runs
	env     environment
	cluster environment // with the socket of the embedded Redis
	archive environment // with the socket of one without nodes
	forget  func()      // how fast tasks were in the last seconds
}

func (s *stage) run(t *testing.T, env environment, args ...string) (out, err string, code int) {
	t.Helper()
	b := prepare(t, s.path, env, args...)
	b.cmd.Dir = s.dir
	require.NoError(t, b.cmd.Start())
	code = b.wait(t)
	return b.out.String(), b.err.String(), code
}

// runs are the three runs of a command that succeeds.
var runs = []string{"60", "120", "json"}

// prepareTranscripts starts a set and makes what the transcripts show and change.
func prepareTranscripts(t *testing.T) *stage {
	t.Helper()
	s := &stage{path: plain(t), dir: t.TempDir(), env: home(t)}
	server := redistest.Embedded(t)
	socket := filepath.Join(s.env["XDG_RUNTIME_DIR"], "s")
	_, err := server.Listen(t.Context(), socket)
	require.NoError(t, err)
	s.cluster = s.env.with("STELLAR_SOCKET", socket)
	client, keys := redistest.Client(t, server.Config()), server.Config().Keys()
	s.forget = func() {
		for _, queue := range []string{"default", "post"} {
			require.NoError(t, client.HDel(t.Context(), keys.Stats(), queue+"|speed").Err())
		}
	}
	set := supervisortest.StartWith(t, transcriptApp(), supervisor.Config{Workers: 2, Redis: server.Config()})
	api := set.Node("stellar-worker-1").API()
	ctx := t.Context()
	at := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	later := func(name, id, queue string) {
		at = at.Add(time.Hour)
		_, err := api.Tasks.EnqueueWith(ctx, name, map[string]string{"to": "ada@example.org"}, tasks.Options{ID: id, Queue: queue, At: at, AnyName: true})
		require.NoError(t, err)
	}
	later("letter", "letter:1", "")
	later("letter", "letter:2", "")
	for _, id := range []string{"ship-0", "ship-60", "ship-120", "ship-json"} {
		_, err := api.Tasks.EnqueueWith(ctx, "ship", nil, tasks.Options{ID: id, Await: true})
		require.NoError(t, err)
		_, err = api.Tasks.Wait(ctx, id)
		require.ErrorIs(t, err, tasks.ErrDead)
	}
	for _, n := range runs {
		later("echo", "cancel-"+n, "")
		later("echo", "again-"+n, "")
		later("echo", "in-delete-"+n, "delete-"+n)
		later("echo", "in-queue-"+n, "queue-"+n)
		_, err := api.Tasks.EnqueueWith(ctx, "fail", nil, tasks.Options{ID: "dead-" + n})
		require.NoError(t, err)
		_, err = api.Tasks.Wait(ctx, "dead-"+n)
		require.ErrorIs(t, err, tasks.ErrDead)
		err = api.Cache.Save(ctx, "del-"+n, 1, 0)
		require.NoError(t, err)
	}
	_, err = api.Tasks.EnqueueWith(ctx, "echo", "well", tasks.Options{ID: "done", Retention: time.Hour})
	require.NoError(t, err)
	_, err = api.Tasks.Wait(ctx, "done")
	require.NoError(t, err)
	for _, key := range []string{"user:7", "user:8"} {
		err = api.Cache.Save(ctx, key, map[string]string{"name": "Ada"}, 0)
		require.NoError(t, err)
	}
	_, err = api.Cache.Lock(ctx, "job", 24*time.Hour)
	require.NoError(t, err)
	for _, name := range periodics {
		require.Eventually(t, func() bool { return api.Inspector.PausePeriodic(ctx, name, true) == nil }, patient, 10*time.Millisecond)
	}
	for name, text := range map[string]string{
		"stellar.yaml": "concurrency: 3\nperiodic:\n  report:\n    task: echo\n    every: 10m\n",
		"wrong.yaml":   "wrokers: 2\nredis-password: x\ndrain: soon\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
	}
	s.prepareData(t)
	s.prepareArchive(t)
	publishOften(t, set, "stockChanged")
	for _, args := range [][]string{{"cache", "export", "backup.jsonl", "--match", "user:*"}, {"tasks", "export", "letters.jsonl", "--name", "letter"}} {
		_, text, code := s.run(t, s.cluster, args...)
		require.Zero(t, code, text)
	}
	return s
}

// prepareData makes a backup with one key, and a data directory with it.
func (s *stage) prepareData(t *testing.T) {
	t.Helper()
	rdb := []byte("REDIS0009\xfe\x00\x00\x01a\x011\xff")
	for sum := ^crc64.Update(^uint64(0), crc64.MakeTable(0x95ac9329ac4bc9b5), rdb); len(rdb) < 25; sum >>= 8 {
		rdb = append(rdb, byte(sum))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "one.rdb"), rdb, 0o600))
	_, text, code := s.run(t, s.env, "data", "restore", "--data", "kept", "one.rdb")
	require.Zero(t, code, text)
}

// TestTranscripts runs the built program for every command: its help at 80 columns, its output
// at 60 and 120 columns and in JSON, and its error for bad input, and compares with the golden files.
func TestTranscripts(t *testing.T) {
	s := prepareTranscripts(t)
	known, _ := tree(nil)
	for _, name := range transcribed() {
		c, there := transcripts[name]
		if !there {
			continue // TestEveryCommandHasATranscript says so
		}
		t.Run(strings.ReplaceAll(goldenFile(name), "testdata/", ""), func(t *testing.T) {
			s.forget()
			got := s.record(t, known, name, c)
			if *update {
				require.NoError(t, os.WriteFile(goldenFile(name), []byte(got), 0o600))
				return
			}
			want, err := os.ReadFile(goldenFile(name))
			require.NoError(t, err)
			require.Equal(t, string(want), got, "if it is meant so: go test ./supervisor/cli -run Transcripts -update")
		})
	}
}

// record runs a command in all ways and returns its transcript.
func (s *stage) record(t *testing.T, known *urfave.Command, name string, c transcript) string {
	t.Helper()
	var all strings.Builder
	env := s.cluster
	switch {
	case c.alone:
		env = s.env
	case c.archive:
		env = s.archive
	}
	say := func(shown string, env environment, args ...string) (out string, code int) {
		out, text, code := s.run(t, env, args...)
		fmt.Fprintf(&all, "$ %s\n%s", strings.TrimSpace(shown+"stellar "+quoted(args)), s.normal(out))
		for line := range strings.Lines(s.normal(text)) {
			all.WriteString("! " + line)
		}
		fmt.Fprintf(&all, "exit code %d\n\n", code)
		return out, code
	}
	command := strings.Fields(name)
	_, code := say("COLUMNS=80 ", env.with("COLUMNS", "80"), append(slices.Clone(command), "--help")...)
	require.Zero(t, code)
	at := commandAt(known, command)
	json := findFlag(at, outputFlag) != nil && len(at.Commands) == 0 || at.DefaultCommand == "stats" || at.DefaultCommand == "list"
	if c.ok != nil {
		for _, n := range runs {
			args := slices.Clone(command)
			for _, arg := range c.ok {
				args = append(args, strings.ReplaceAll(arg, "{n}", n))
			}
			switch {
			case n != "json":
				_, code := say("COLUMNS="+n+" ", env.with("COLUMNS", n), args...)
				require.Zero(t, code, "%v: %s", args, &all)
			case json:
				out, code := say("", env, append(args, "-o", "json")...)
				require.Zero(t, code, args)
				requireConvention(t, out)
			}
		}
	}
	if c.bad != nil {
		bad := append(slices.Clone(command), c.bad...)
		_, code := say("", env, bad...)
		require.NotZero(t, code, bad)
		if json {
			say("", env, append([]string{"-o", "json"}, bad...)...)
		}
	}
	return strings.TrimSuffix(all.String(), "\n")
}

// quoted joins arguments as a shell takes them.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		if words[i] = arg; strings.ContainsAny(arg, " {}[]\"*") {
			words[i] = "'" + arg + "'"
		}
	}
	return strings.Join(words, " ")
}

// What differs from run to run, and what is written in its place.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.?\d*(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`#\d+:[0-9a-f]{16}`), "#EPOCH:NONCE"}, // nodes that start at once share the epochs as it happens
	{regexp.MustCompile(`\b(\d+):[0-9a-f]{16}`), "${1}:NONCE"},
	{regexp.MustCompile(`("(?:pid|number|bytes|fence|[a-zA-Z]*Ms|throughput)": )[0-9.e+-]+`), "${1}N"},
	{regexp.MustCompile(`"seq":\d+`), `"seq":N`},
	{regexp.MustCompile(`"(host|redis|version)": "[^"]*"`), `"$1": "…"`},
	{regexp.MustCompile(`(?m)^(NODE +PROCESS) .*$`), "$1 …"}, // as wide as the host's name
	{regexp.MustCompile(`process \d+ on \S+:`), "process PID on HOST:"},
	{regexp.MustCompile(`(enqueued report |"id": ")[0-9A-Za-z]{11}\b`), "${1}ID"},
	{regexp.MustCompile(`\(go\d\S* \S+/\S+\)`), "(GO)"},
	{regexp.MustCompile(`development [0-9a-f]{12}`), "development"},
	{regexp.MustCompile(`\.rdb: \d+ bytes`), ".rdb: N bytes"},  // they depend on the version of Redis
	{regexp.MustCompile(`(?m)^\S+ … \(\d of \d done\)\n`), ""}, // which nodes are seen depends on how fast they are
}

// duration matches a length of time. It differs from run to run in the columns of ages.
var (
	duration = regexp.MustCompile(`\b(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?(?:s|ms|µs)\b`)
	ages     = regexp.MustCompile(`NONCE|^(LEASE AGE|UPTIME|LEFT) `)
	padding  = regexp.MustCompile(`(\S)  +`)
)

// normal replaces what differs from run to run.
func (s *stage) normal(text string) string {
	host, _ := os.Hostname()
	pid := strconv.Itoa(os.Getpid())
	text = strings.NewReplacer(s.cluster["STELLAR_SOCKET"], "SOCKET", s.archive["STELLAR_SOCKET"], "ARCHIVE", s.dir, "DIR", s.env["XDG_RUNTIME_DIR"], "RUN").Replace(text)
	for _, c := range changing {
		text = c.what.ReplaceAllString(text, c.with)
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if ages.MatchString(line) {
			line = duration.ReplaceAllString(strings.ReplaceAll(line, host, "HOST"), "AGE")
			line = padding.ReplaceAllString(line, "$1  ") // the columns are as wide as what was replaced
			line = strings.ReplaceAll(line, pid, "PID")
		} else if words := strings.Fields(line); len(words) == 2 && (words[0] == "HOST" || words[0] == "PROCESS") {
			line = words[0] + "  …"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// requireConvention fails unless the JSON keeps to the convention of the manual (operate): a
// moment is a text in RFC 3339 and UTC whose name is at or ends in At; a length of time is a
// number of milliseconds whose name ends in Ms; nothing else has such a name or looks so.
func requireConvention(t *testing.T, text string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	for d.More() {
		var document any
		require.NoError(t, d.Decode(&document), text)
		requireConventionOf(t, "", document)
	}
}

// lengths are names that a length of time could have if it had no unit.
var lengths = regexp.MustCompile(`(?i)(uptime|age|duration|timeout|ttl|oldest|wait|retention|backoff|lease|interval)$`)

func requireConventionOf(t *testing.T, name string, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if key != "payload" && key != "result" && key != "value" { // these are the user's
				requireConventionOf(t, key, member)
			}
		}
	case []any:
		for _, item := range v {
			requireConventionOf(t, name, item)
		}
	case string:
		at, err := time.Parse(time.RFC3339Nano, v)
		moment := name == "at" || strings.HasSuffix(name, "At")
		require.Equal(t, moment, err == nil, "%s: %s", name, v)
		if moment {
			require.Equal(t, time.UTC, at.Location(), "%s: %s", name, v)
		}
	case float64:
		require.NotRegexp(t, `(^at|At)$`, name, "a moment is a text")
		require.NotRegexp(t, lengths, name, "a length of time is in milliseconds, and its name ends in Ms")
		require.False(t, strings.HasSuffix(name, "Ms") && v < 0, name)
		require.True(t, v < 1e12 || name == "fence" || name == "seq", "%s: a time in seconds or milliseconds since 1970?", name)
	}
}

// What the transcripts do not show keeps to the convention as well: tasks in all states, and the
// answers of methods.
func TestAllJSONKeepsToTheConvention(t *testing.T) {
	t.Parallel()
	withSet(t, func() *worker.App {
		app := transcriptApp()
		tasks.Handle(app, tasks.Definition{Name: "slow", Timeout: time.Hour}, func(ctx context.Context, _ any) error {
			_ = tasks.SetProgress(ctx, 0.5, "half")
			<-ctx.Done()
			return ctx.Err()
		})
		return app
	}, func(t *testing.T, at place, _ *supervisortest.Set) {
		for _, args := range []string{
			"enqueue slow --id slow --deadline 2h", "enqueue fail --id dead --retention 1h", "enqueue echo --id done --retention 1h", "enqueue echo --id later --in 1h",
			"enqueue echo --id after --after slow", "enqueue echo --id gone --in 1h", "tasks cancel gone", "cache set k 1 --ttl 1h", "cache get k",
			"call api.cache.load [\"k\"]", "call api.cache.lock {\"key\":\"job\",\"ttl\":3600000}", "tasks wait done",
		} {
			stellar(t, at.env, strings.Fields(args)...)
		}
		require.Equal(t, 1, stellar(t, at.env, "tasks", "wait", "dead").code)
		require.Eventually(t, func() bool { return strings.Contains(stellar(t, at.env, "tasks", "show", "slow").out, "half") }, patient, 10*time.Millisecond)
		said := ""
		for _, args := range []string{
			"status", "tasks", "tasks list --state pending,parked,delayed,blocked,active,done,dead,cancelled", "tasks show slow", "tasks show dead", "tasks show done",
			"tasks explain slow", "tasks explain dead", "tasks periodic", "cache get k", "cache locks", "call api.ping --all", "call api.status", "call api.methods",
			"call api.set.status", "call api.cache.entry [\"k\"]", "call api.cache.checkLock [\"job\"]", "call api.cache.locks", "call api.tasks.counts", "call api.tasks.handled", "call api.tasks.list", "call api.tasks.periodic",
			"call api.tasks.get [\"slow\"]", "call api.tasks.queues", "call api.tasks.definitions", "call api.connections.list", "call api.tasks.explain [\"dead\"]",
		} {
			r := stellar(t, at.env, append(strings.Fields(args), "-o", "json")...)
			require.Zero(t, r.code, "%s: %s", args, r.err)
			said += r.out
			requireConvention(t, r.out)
		}
		for _, name := range []string{"startedAt", "endedAt", "dueAt", "enqueuedAt", "deadlineAt", "timeoutMs", "expiresAt", "createdAt", "uptimeMs", "leaseAgeMs", "waitMs", "nextAt"} {
			require.Contains(t, said, `"`+name+`": `)
		}
		require.Zero(t, stellar(t, at.env, "tasks", "cancel", "slow").code) // otherwise the set drains
	})
}
