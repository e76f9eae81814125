package internal_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/membership"
	"github.com/stellarfw/stellar/worker/tasks"
)

// patient is a set on a real Redis that fails and comes back.
type patient struct {
	server *redistest.Server
	// watcher was connected before anything failed, and stays so.
	watcher *redis.Conn
	set     *supervisor.Set
	log     *syncBuffer
	ran     chan int
	lives   []string // the nodes' incarnations before anything failed
	// nap ends what makes the server slow, and waits for it.
	nap func() error
}

// fault is one way in which Redis fails while a set runs on it.
type fault struct {
	// begin breaks it for everybody but the watcher, end mends it.
	begin, end func(t *testing.T, p *patient)
	// says is part of the only line of that cause that the set logs; with none of
	// them the set need not notice.
	says string
	// goesOn: work is done all the same.
	goesOn bool
}

func (p *patient) do(t *testing.T, words ...any) any {
	t.Helper()
	reply, err := p.watcher.Do(context.Background(), words...).Result()
	require.NoError(t, err, "%v", words)
	return reply
}

func (p *patient) cutAll(t *testing.T) {
	t.Helper()
	p.do(t, "client", "kill", "type", "normal", "skipme", "yes")
	p.do(t, "client", "kill", "type", "pubsub")
}

// tries are the connections and commands that Redis has seen.
func (p *patient) tries(t *testing.T) (n int64) {
	t.Helper()
	info := fmt.Sprint(p.do(t, "info", "stats"))
	for _, field := range []string{"total_connections_received:", "total_commands_processed:", "total_error_replies:", "rejected_connections:"} {
		_, rest, _ := strings.Cut(info, field)
		value, _, _ := strings.Cut(rest, "\r")
		v, err := strconv.ParseInt(value, 10, 64)
		require.NoError(t, err, field)
		n += v
	}
	return n
}

var redisFaults = map[string]fault{
	"replica": {
		begin: func(t *testing.T, p *patient) { p.do(t, "replicaof", "127.0.0.1", "1") },
		end:   func(t *testing.T, p *patient) { p.do(t, "replicaof", "no", "one") },
		says:  "is a replica",
	},
	"password": {
		begin: func(t *testing.T, p *patient) {
			p.do(t, "config", "set", "requirepass", "another password")
			p.cutAll(t)
		},
		end:  func(t *testing.T, p *patient) { p.do(t, "config", "set", "requirepass", "") },
		says: "does not accept this user and password",
	},
	"clients": {
		begin: func(t *testing.T, p *patient) {
			p.do(t, "config", "set", "maxclients", "1")
			p.cutAll(t)
		},
		end:  func(t *testing.T, p *patient) { p.do(t, "config", "set", "maxclients", "1000") },
		says: "a set of N nodes needs 3N + 10",
	},
	"disk": {
		begin: func(t *testing.T, p *patient) {
			require.NoError(t, p.server.FailSaves())
			p.do(t, "config", "set", "save", "3600 1")
			p.do(t, "bgsave")
		},
		end: func(t *testing.T, p *patient) {
			require.NoError(t, p.server.AllowSaves())
			p.do(t, "config", "set", "save", "")
		},
		says: "cannot write to its disk",
	},
	"memory": {
		begin: func(t *testing.T, p *patient) { p.do(t, "config", "set", "maxmemory", "1") },
		end:   func(t *testing.T, p *patient) { p.do(t, "config", "set", "maxmemory", "0") },
	},
	"rights": {
		begin: func(t *testing.T, p *patient) { p.do(t, "acl", "setuser", "default", "-@write") },
		end:   func(t *testing.T, p *patient) { p.do(t, "acl", "setuser", "default", "+@all") },
		says:  "lacks a permission",
	},
	"replicas": {
		begin: func(t *testing.T, p *patient) { p.do(t, "config", "set", "min-replicas-to-write", "1") },
		end:   func(t *testing.T, p *patient) { p.do(t, "config", "set", "min-replicas-to-write", "0") },
		says:  "min-replicas-to-write",
	},
	"cut connections": {
		begin: func(t *testing.T, p *patient) { p.cutAll(t) },
		end:   func(*testing.T, *patient) {},
	},
	"loading": {
		begin: func(t *testing.T, p *patient) {
			p.do(t, "debug", "populate", "4000", "filler", "1000")
			p.do(t, "save")
			p.server.Kill()
			require.NoError(t, p.server.RunLoading())
			p.watch(t)
		},
		end:  func(t *testing.T, p *patient) { p.do(t, "config", "set", "key-load-delay", "0") },
		says: "loads its data",
	},
	"asleep": { // longer than anybody waits for an answer
		begin: func(_ *testing.T, p *patient) { p.sleeps(4*time.Second, false) },
		end:   func(t *testing.T, p *patient) { require.NoError(t, p.nap()) },
		says:  "no answer in time",
	},
	"slow": { // and yet within everybody's patience
		begin: func(_ *testing.T, p *patient) { p.sleeps(500*time.Millisecond, true) },
		end:   func(t *testing.T, p *patient) { require.NoError(t, p.nap()) },

		goesOn: true,
	},
}

// sleeps makes the server sleep, once or again and again until p.nap is called.
func (p *patient) sleeps(d time.Duration, again bool) {
	enough, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			err := p.server.Sleep(d)
			select {
			case <-enough:
				again = false
			default:
			}
			if err != nil || !again {
				done <- err
				return
			}
		}
	}()
	p.nap = func() error { close(enough); return <-done }
}

// watch connects the watcher, also to a server that loads its data.
func (p *patient) watch(t *testing.T) {
	t.Helper()
	p.watcher = redistest.Client(t, p.server.Config()).Conn()
	t.Cleanup(func() { _ = p.watcher.Close() })
	p.do(t, "client", "id")
}

// alive are the incarnations of the nodes.
func (p *patient) alive() (lives []string) {
	for _, n := range p.set.Nodes() {
		lives = append(lives, n.Ended().Incarnation)
	}
	return lives
}

// Whatever Redis says, the set goes on, tells the operator once, does not spin,
// and works again as soon as Redis does.
func TestASetOutlastsEverythingThatRedisSays(t *testing.T) {
	t.Parallel()
	for name, f := range redisFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPatient(t)
			f.begin(t, p)
			if f.says != "" {
				p.log.awaitOr(t, f.says)
			}
			before, since := p.tries(t), time.Now()
			time.Sleep(2 * time.Second)
			rate := float64(p.tries(t)-before) / time.Since(since).Seconds()
			require.Less(t, rate, 200.0, "tries a second")
			t.Logf("%.0f connections and commands a second", rate)
			if f.goesOn {
				p.works(t, "meanwhile")
			}
			f.end(t, p)
			p.works(t, "after")
			p.stop(t, f.says)
		})
	}
}

func startPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{server: redistest.Start(t, "--maxclients", "1000"), log: &syncBuffer{}, ran: make(chan int, 1000)}
	p.watch(t)
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "note"}, func(_ context.Context, i int) error {
		p.ran <- i
		return nil
	})
	cfg := p.server.Config()
	cfg.Token = link.NewSecret("the token of a test") // without one the log warns
	var err error
	p.set, err = supervisor.New(supervisor.Config{
		Workers: 3, Redis: cfg, Times: membership.Times{Lease: time.Minute, Heartbeat: time.Second},
	}, app, zerolog.New(p.log))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.set.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done, "the set has lived all the time")
		require.Zero(t, p.set.Report().Crashes)
	})
	require.NoError(t, p.set.AwaitReady(t.Context()))
	p.lives = p.alive()
	require.Len(t, p.lives, 3)
	return p
}

// works waits until a task is accepted and has run, and all nodes are heard.
func (p *patient) works(t *testing.T, task string) {
	t.Helper()
	mended := time.Now()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		nodes := p.set.Nodes()
		if len(nodes) < 3 || nodes[0].API() == nil {
			return false
		}
		_, err := nodes[0].API().Tasks.EnqueueWith(ctx, "note", 1, tasks.Options{ID: task})
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	select {
	case <-p.ran:
	case <-time.After(time.Minute):
		t.Fatal("no task runs")
	}
	t.Logf("work %s: done after %s", task, time.Since(mended).Round(time.Millisecond))
	require.Eventually(t, func() bool {
		nodes := p.set.Nodes()
		if len(nodes) < 3 || nodes[0].API() == nil {
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		verdicts, err := nodes[0].API().RPC.DoAll(ctx, "api.ping", nil)
		heard := 0
		for _, v := range verdicts {
			if v.Err == nil {
				heard++
			}
		}
		return err == nil && heard == 3
	}, time.Minute, 50*time.Millisecond)
}

// stop checks what the log says, and that the nodes have lived all the time.
func (p *patient) stop(t *testing.T, says string) {
	t.Helper()
	if says != "" {
		p.log.awaitOr(t, "redis is back")
	}
	require.Equal(t, p.lives, p.alive(), "no lease was lost")
	text := p.log.text()
	require.NotContains(t, text, `"level":"error"`)
	lines := map[string]int{}
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(line, `"level":"warn"`) {
			continue
		}
		require.Contains(t, line, `"message":"redis: `, "a warning for each node: %s", text)
		_, cause, _ := strings.Cut(line, `"cause":"`)
		cause, _, _ = strings.Cut(cause, `"`)
		lines[cause]++
		require.Equal(t, 1, lines[cause], "one line for each cause: %s", text)
		if says != "" && strings.Contains(line, says) {
			says = ""
		}
	}
	require.Empty(t, says, "not said: %s", text)
}

func (s *syncBuffer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// awaitOr is await that shows the log when it fails.
func (s *syncBuffer) awaitOr(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.text(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q:\n%s", text, s.text())
		}
	}
}
