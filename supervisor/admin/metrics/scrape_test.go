package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/admin/metrics"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A set under load, after a crash of a node, and with Redis away.
func TestAScrapeOfASet(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		cable := &redistest.Cable{To: dialOf(t, cfg)}
		cfg.Dial = cable.Dial
		m := metrics.New(metrics.Config{Log: zerolog.Nop(), Age: time.Millisecond})
		cfg.Hooks = []redis.Hook{m.Hook()}
		app := worker.NewApp()
		tasks.Handle(app, tasks.Definition{Name: "mail"}, func(context.Context, int) error { return nil })
		tasks.Handle(app, tasks.Definition{Name: "fails", MaxAttempts: 1}, func(context.Context, int) error { return io.ErrUnexpectedEOF })
		rpcregistry.Handle(app, "mail.flush", func(_ context.Context, in int) (int, error) { return in, nil })
		app.RegisterPeriodic(tasks.Periodic{Name: "nightly", Schedule: tasks.Every(time.Hour), Task: "mail", Payload: 1})
		app.LimitQueue("default", tasks.Limits{Concurrency: 50, Rate: tasks.Rate{Tasks: 1000, Per: time.Second}})
		set := supervisortest.StartWith(t, app, supervisor.Config{
			Workers: 2, Redis: cfg, Observer: m, Version: "v1", Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
		})
		m.Watch(t.Context(), set)
		ctx, api := t.Context(), set.Nodes()[0].API()
		for i := range 20 {
			_, err := api.Tasks.Enqueue(ctx, "mail", i)
			require.NoError(t, err)
		}
		_, err := api.Tasks.Enqueue(ctx, "fails", 1)
		require.NoError(t, err)
		_, err = api.Tasks.EnqueueWith(ctx, "mail", 1, tasks.Options{Queue: "elsewhere", Group: "a"})
		require.NoError(t, err)
		_, err = api.RPC.DoCluster(ctx, "mail.flush", 1, rpcregistry.Node(set.Nodes()[1].ID()))
		require.NoError(t, err)
		require.NoError(t, api.Cache.Save(ctx, "k", 1, time.Minute))

		var all map[string]*dto.MetricFamily
		is := func(name, labels string, want float64) {
			t.Helper()
			require.Eventually(t, func() bool {
				all = gathered(t, m)
				got, there := value(all, name, labels)
				return there && got == want
			}, 20*time.Second, 20*time.Millisecond, "%s{%s}", name, labels)
		}
		is("stellar_task_runs_total", "outcome=done,queue=default,task=mail", 20)
		is("stellar_task_runs_total", "outcome=failed,queue=default,task=fails", 1)
		is("stellar_enqueues_total", "queue=elsewhere,result=accepted,task=mail", 1)
		is("stellar_queue_tasks", "queue=elsewhere,state=pending", 1)
		is("stellar_queue_groups", "queue=elsewhere", 1)
		is("stellar_queue_claimers", "queue=elsewhere,quiet=false", 0)
		is("stellar_queue_claimers", "queue=default,quiet=false", 2)
		is("stellar_queue_events_total", "event=done,queue=default", 20)
		is("stellar_queue_limit", "kind=rate,queue=default", 1000)
		is("stellar_cluster_tasks", "state=dead", 1)
		is("stellar_cluster_nodes", "state=running", 2)
		is("stellar_cluster_slots", "state=free", 20)
		is("stellar_cluster_processes", "", 1)
		is("stellar_rpc_client_seconds", "code=ok,method=mail.flush", 1)
		is("stellar_rpc_server_seconds", "code=ok,method=mail.flush", 1)
		is("stellar_cache_ops_total", "op=save,result=ok", 1)
		is("stellar_ready", "", 1)
		is("stellar_slots", "", 20)
		require.Contains(t, all, "stellar_periodic_next_timestamp_seconds")
		require.NotEmpty(t, all["stellar_redis_command_seconds"].Metric)
		_, named := value(all, "stellar_redis_command_seconds", "op=claim")
		require.True(t, named)
		lint(t, all)

		set.Nodes()[0].Crash("drill")
		is("stellar_node_crashes_total", "kind=injected", 1)
		is("stellar_node_starts_total", "why=crash", 1)
		is("stellar_node_recovery_seconds", "", 1)
		is("stellar_takeovers_total", "why=crash", 1)

		cable.Refuse.Store(true)
		cable.Cut()
		is("stellar_redis_up", "", 0)
		is("stellar_ready", "", 0)
		require.NotContains(t, all, "stellar_queue_tasks")
		require.Contains(t, all, "stellar_task_runs_total")
		failed, _ := value(all, "stellar_scrape_errors_total", "part=snapshot")
		require.Positive(t, failed)
		require.NotEmpty(t, all["stellar_redis_errors_total"].GetMetric())
		cable.Refuse.Store(false)
		is("stellar_redis_up", "", 1)
		is("stellar_queue_tasks", "queue=elsewhere,state=pending", 1)
	})
}

func dialOf(t *testing.T, cfg link.Config) func(context.Context) (net.Conn, error) {
	t.Helper()
	if cfg.Dial != nil {
		return cfg.Dial
	}
	path := strings.TrimPrefix(cfg.URL, "unix://")
	path, _, _ = strings.Cut(path, "?")
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) }
}

func lint(t *testing.T, all map[string]*dto.MetricFamily) {
	t.Helper()
	families := make([]*dto.MetricFamily, 0, len(all))
	for _, f := range all {
		families = append(families, f)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// Every metric of the table is there, with all its labels, and no other.
func TestEveryMetricIsScraped(t *testing.T) {
	m := metrics.New(metrics.Config{})
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "mail"}, func(context.Context, int) error { return nil })
	app.RegisterPeriodic(tasks.Periodic{Name: "often", Schedule: tasks.Every(time.Second), Task: "mail", Payload: 1})
	app.LimitQueue("default", tasks.Limits{Bytes: 1 << 30})
	at := link.Config{Dial: redistest.Embedded(t).Dial, Hooks: []redis.Hook{m.Hook()}}
	set := supervisortest.StartWith(t, app, supervisor.Config{Workers: 1, Redis: at, Observer: m})
	m.Watch(t.Context(), set)
	events(m)
	var missing []string
	require.Eventually(t, func() bool {
		all := gathered(t, m)
		missing = nil
		for _, want := range metrics.Table() {
			f := all[want.Name]
			if f == nil {
				missing = append(missing, want.Name)
				continue
			}
			require.Equal(t, string(want.Kind), strings.ToLower(f.GetType().String()), want.Name)
			var labels []string
			for _, l := range f.Metric[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			require.Equal(t, slices.Sorted(slices.Values(want.Labels)), labels, want.Name)
			delete(all, want.Name)
		}
		require.Empty(t, all)
		return len(missing) == 0
	}, 20*time.Second, 100*time.Millisecond, "%v", &missing)
}

func TestThePageNeedsTheToken(t *testing.T) {
	m := metrics.New(metrics.Config{})
	set := supervisortest.StartWith(t, worker.NewApp(), supervisor.Config{Workers: 1, Observer: m})
	m.Watch(t.Context(), set)
	token := link.NewSecret("a token of sixteen bytes and more")
	server, err := admin.Listen(t.Context(), admin.Config{Addr: "127.0.0.1:0", Token: token, Set: set, Metrics: m.Handler()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	defer func() { cancel(); require.NoError(t, <-served) }()
	ask := func(token, accept string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Addr().String()+"/metrics", http.NoBody)
		require.NoError(t, err)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.Header.Set("Accept", accept)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(text)
	}
	code, _ := ask("", "")
	require.Equal(t, http.StatusUnauthorized, code)
	code, text := ask(token.Reveal(), "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "stellar_ready 1\n")
	require.Contains(t, text, "go_goroutines")
	code, text = ask(token.Reveal(), "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "positive_span", "native histograms are for scrapers that ask for them")
}
