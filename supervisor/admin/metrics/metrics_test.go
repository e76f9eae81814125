package metrics_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/admin/metrics"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt and the table of the manual")

func list() string {
	var b strings.Builder
	for _, m := range metrics.Table() {
		fmt.Fprintf(&b, "%s %s %s {%s} %v\n\t%s\n", m.Name, m.Kind, m.Scope, strings.Join(m.Labels, ","), m.Buckets, m.Help)
	}
	return b.String()
}

// manualTable is the table of the page metrics of the manual.
func manualTable() string {
	var b strings.Builder
	for _, scope := range []struct {
		is    metrics.Scope
		title string
	}{{metrics.Process, "### Of each process"}, {metrics.Cluster, "### Of the cluster"}} {
		fmt.Fprintf(&b, "%s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", scope.title)
		for _, m := range metrics.Table() {
			if m.Scope != scope.is {
				continue
			}
			labels := "–"
			if len(m.Labels) > 0 {
				labels = "`" + strings.Join(m.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, labels, m.Help)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Rules and panels of users name the metrics: a change here is one of the interface.
func TestTheMetricsAreThoseOfTheGoldenFileAndOfTheManual(t *testing.T) {
	const golden, page, begin, end = "testdata/metrics.txt", "../../cli/manual/metrics.md", "<!-- table -->\n\n", "<!-- end of table -->\n"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(list()), 0o600))
		require.NoError(t, os.WriteFile(page, []byte(before+begin+manualTable()+end+after), 0o600))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), list(), "go test ./supervisor/admin/metrics -update")
	require.Equal(t, manualTable(), table, "go test ./supervisor/admin/metrics -update")
}

// events tells an observer of everything that there is.
func events(o worker.Observer) {
	o.NodeStarted(worker.NodeStart{Why: worker.StartCrash, Recovered: time.Second})
	for _, why := range []worker.EndReason{worker.EndStopped, worker.EndPanicked, worker.EndLeaseLost, worker.EndInjected, worker.EndFailed} {
		o.NodeEnded(worker.NodeEnd{Why: why})
	}
	o.RedisFailed("heartbeat", link.CauseNone, errors.New("no"))
	o.MessagePassed(redisbus.Sent)
	o.MessagePassed(redisbus.Received)
	o.MessagesMissed(redisbus.GapReconnect)
	o.MessageDropped(redisbus.DropProof)
	o.CallEnded(rpcregistry.CallEnd{Method: "mail.flush", Took: time.Millisecond})
	o.MethodEnded(rpcregistry.MethodEnd{Method: "mail.flush", Code: rpcregistry.ErrBusy})
	o.MethodEnded(rpcregistry.MethodEnd{Method: "made up", Code: rpcregistry.ErrNoSuchMethod})
	o.CacheDone(cache.Operation{Op: "load", Err: cache.ErrNotFound, Took: time.Millisecond})
	o.NearRead(cache.NearHit)
	o.LockWaited(cache.LockTime{Took: time.Millisecond})
	o.LockHeld(cache.LockTime{Took: time.Second})
	o.LockLost(cache.LockTime{})
	o.Enqueued(tasks.EnqueueEnd{Name: "mail", Queue: "default", Result: tasks.EnqueueAccepted, Together: 3, Took: time.Millisecond})
	o.Enqueued(tasks.EnqueueEnd{Name: "mail", Queue: "default", Result: tasks.EnqueueFull, Together: 3, Position: 1, Took: time.Millisecond})
	o.Claimed(tasks.Claim{Wanted: 10, Got: 1, Took: time.Millisecond})
	o.RunEnded(tasks.RunEnd{Name: "mail", Queue: "default", Outcome: tasks.RunDone, Attempt: 1, Waited: time.Millisecond, Ran: time.Second, Batch: 2})
	o.RunEnded(tasks.RunEnd{Name: "mail", Queue: "default", Outcome: tasks.RunAbandoned, Attempt: 2, Waited: time.Hour, Ran: time.Second})
	o.Committed(tasks.Commit{Runs: 2, Took: time.Millisecond})
	o.TookOver(tasks.TakeOver{Why: tasks.TakeOverCrash, HandedOn: 2, Quarantined: 1, Took: time.Millisecond})
	o.Ticked(tasks.Tick{Name: "nightly", Result: tasks.TickEnqueued, Late: time.Millisecond})
	o.RunOverdue(tasks.RunOverdue{Name: "mail"})
	o.TaskEnded(tasks.TaskEnd{Queue: "default", How: tasks.EndDeleted})
	o.StepEnded(tasks.StepEnd{Name: "mail", Result: tasks.StepSkipped})
}

func gathered(t *testing.T, m prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	require.NoError(t, r.Register(m))
	families, err := r.Gather()
	require.NoError(t, err)
	all := map[string]*dto.MetricFamily{}
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// value returns the value of a metric, "a=b,c=d" being its labels by name, and whether it is there.
func value(families map[string]*dto.MetricFamily, name, labels string) (v float64, is bool) {
	for _, m := range families[name].GetMetric() {
		var own []string
		for _, l := range m.GetLabel() {
			own = append(own, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(own, ",") == labels {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

func TestEventsAreCounted(t *testing.T) {
	m := metrics.New(metrics.Config{})
	events(m)
	all := gathered(t, m)
	for _, c := range []struct {
		name, labels string
		want         float64
	}{
		{"stellar_node_starts_total", "why=crash", 1},
		{"stellar_node_crashes_total", "kind=lease_lost", 1},
		{"stellar_node_crashes_total", "kind=error", 1},
		{"stellar_redis_errors_total", "cause=other", 1},
		{"stellar_bus_messages_total", "direction=sent", 1},
		{"stellar_bus_reconnects_total", "", 1},
		{"stellar_bus_dropped_total", "reason=proof", 1},
		{"stellar_rpc_client_seconds", "code=ok,method=mail.flush", 1},
		{"stellar_rpc_server_seconds", "code=busy,method=mail.flush", 1},
		{"stellar_rpc_server_seconds", "code=" + string(rpcregistry.ErrNoSuchMethod) + ",method=_other", 1},
		{"stellar_cache_ops_total", "op=load,result=miss", 1},
		{"stellar_enqueues_total", "queue=default,result=accepted,task=mail", 1},
		{"stellar_enqueues_total", "queue=default,result=full,task=mail", 1},
		{"stellar_enqueue_seconds", "", 1},
		{"stellar_task_runs_total", "outcome=done,queue=default,task=mail", 1},
		{"stellar_task_runs_total", "outcome=abandoned,queue=default,task=mail", 1},
		{"stellar_task_run_seconds", "task=mail", 2},
		{"stellar_task_wait_seconds", "queue=default", 1},
		{"stellar_task_batch_tasks", "task=mail", 1},
		{"stellar_task_steps_total", "result=skipped,task=mail", 1},
		{"stellar_takeover_tasks_total", "why=crash", 3},
		{"stellar_periodic_ticks_total", "periodic=nightly,result=enqueued", 1},
		{"stellar_locks_lost_total", "", 1},
	} {
		got, is := value(all, c.name, c.labels)
		require.True(t, is, "%s{%s}", c.name, c.labels)
		require.InDelta(t, c.want, got, 0, "%s{%s}", c.name, c.labels)
	}
	require.InDelta(t, 2, all["stellar_task_run_seconds"].Metric[0].Histogram.GetSampleSum(), 1e-9)
	families := make([]*dto.MetricFamily, 0, len(all))
	for _, f := range all {
		families = append(families, f)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// A histogram is that of the client library, its native buckets too.
func TestHistogramsAreThoseOfTheLibrary(t *testing.T) {
	m := metrics.New(metrics.Config{})
	var buckets []float64
	for _, x := range metrics.Table() {
		if x.Name == "stellar_lock_hold_seconds" {
			buckets = x.Buckets
		}
	}
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "stellar_lock_hold_seconds", Help: "x", Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: 1.0 / (1 << 20),
	})
	for _, d := range []time.Duration{
		0, 1, time.Microsecond, 2 * time.Microsecond, time.Millisecond, time.Millisecond + 1, 2500 * time.Microsecond, 250 * time.Millisecond, 300 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2 * time.Second, 2*time.Second + 1, 77 * time.Second, 5 * time.Hour, time.Hour,
	} {
		m.LockHeld(cache.LockTime{Took: d})
		theirs.Observe(d.Seconds())
	}
	want := gathered(t, theirs)["stellar_lock_hold_seconds"].Metric[0].Histogram
	want.CreatedTimestamp = nil
	got := gathered(t, m)["stellar_lock_hold_seconds"].Metric[0].Histogram
	require.InDelta(t, want.GetSampleSum(), got.GetSampleSum(), 1e-6)
	want.SampleSum = got.SampleSum
	require.Equal(t, native(want), native(got))
	for _, h := range []*dto.Histogram{want, got} { // empty buckets in spans are a matter of taste
		h.PositiveSpan, h.PositiveDelta = nil, nil
	}
	require.Equal(t, want.String(), got.String())
}

// native returns the native buckets that are not empty, by index.
func native(h *dto.Histogram) map[int32]int64 {
	all, index, n := map[int32]int64{}, int32(0), int64(0)
	deltas := h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			n, deltas = n+deltas[0], deltas[1:]
			if n > 0 {
				all[index] = n
			}
			index++
		}
	}
	return all
}

func TestALabelHasABoundedNumberOfValues(t *testing.T) {
	var log strings.Builder
	m := metrics.New(metrics.Config{Log: zerolog.New(&log)})
	for i := range 3000 {
		m.RunEnded(tasks.RunEnd{Name: fmt.Sprint("t", i), Queue: "default", Outcome: tasks.RunDone})
	}
	m.RunEnded(tasks.RunEnd{Name: "\xff", Queue: "default", Outcome: tasks.RunDone})
	m.RunEnded(tasks.RunEnd{Name: "t7", Queue: "default", Outcome: tasks.RunDone})
	all := gathered(t, m)
	require.Len(t, all["stellar_task_runs_total"].Metric, metrics.MaxValues+1)
	require.Len(t, all["stellar_task_run_seconds"].Metric, metrics.MaxValues+1)
	n, _ := value(all, "stellar_task_runs_total", "outcome=done,queue=default,task=_other")
	require.InDelta(t, 3001-metrics.MaxValues, n, 0)
	n, _ = value(all, "stellar_task_runs_total", "outcome=done,queue=default,task=t7")
	require.InDelta(t, 2, n, 0)
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
}

func TestATaskCostsNoMemory(t *testing.T) {
	m := metrics.New(metrics.Config{})
	run := tasks.RunEnd{Name: "mail", Queue: "default", Outcome: tasks.RunDone, Attempt: 1, Waited: time.Millisecond, Ran: time.Second}
	enqueue := tasks.EnqueueEnd{Name: "mail", Queue: "default", Result: tasks.EnqueueAccepted, Together: 1, Took: time.Millisecond}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		m.RunEnded(run)
		m.Enqueued(enqueue)
		m.Claimed(tasks.Claim{Took: time.Millisecond})
		m.Committed(tasks.Commit{Runs: 1, Took: time.Millisecond})
		m.CallEnded(rpcregistry.CallEnd{Method: "x", Took: time.Millisecond})
	}))
}

// Who does not import the package links nothing of Prometheus.
func TestOnlyThisPackageAndTheCommandsLinkPrometheus(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../../supervisor", "..", "../../guard", "../../../worker").Output()
	require.NoError(t, err)
	all := strings.Fields(string(out))
	require.Contains(t, all, "github.com/stellarfw/stellar/supervisor/admin")
	require.False(t, slices.ContainsFunc(all, func(path string) bool { return strings.Contains(path, "prometheus") }))
}

func BenchmarkATask(b *testing.B) {
	m := metrics.New(metrics.Config{})
	run := tasks.RunEnd{Name: "mail", Queue: "default", Outcome: tasks.RunDone, Attempt: 1, Waited: time.Millisecond, Ran: time.Second}
	enqueue := tasks.EnqueueEnd{Name: "mail", Queue: "default", Result: tasks.EnqueueAccepted, Together: 1, Took: time.Millisecond}
	for b.Loop() {
		m.RunEnded(run)
		m.Enqueued(enqueue)
	}
}
