// Package metrics has the metrics of a set and of its cluster for Prometheus.
//
//	m := metrics.New(metrics.Config{Log: log})
//	set, err := supervisor.New(supervisor.Config{
//		Redis:    link.Config{URL: url, Hooks: []redis.Hook{m.Hook()}},
//		Observer: m,
//	}, app, log)
//	…
//	m.Watch(ctx, set)
//	prometheus.MustRegister(m) // or serve m.Handler()
//
// [Metrics] hears of everything that happens in the process as its worker.Observer, in memory and without a
// request to Redis, and reads the state of the whole cluster from the snapshot that all processes share
// (tasks.Inspector.Snapshot). The figures of the cluster are the same from every process: take max by, and
// never sum, over the processes.
//
// [Table] has all metrics as data. Labels have a bounded number of values: see [MaxValues].
package metrics
