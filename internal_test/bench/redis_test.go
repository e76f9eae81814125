package bench

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// infoOf returns a number of Redis's INFO.
func infoOf(b *scope, c redis.UniversalClient, section, name string) float64 {
	b.Helper()
	v, err := strconv.ParseFloat(redistest.Info(b, c, section, name), 64)
	must(b, err)
	return v
}

// usage is what Redis has done since its start.
type usage struct {
	commands   float64 // those inside scripts too
	scripts    float64 // calls of scripts
	scriptTime float64 // in µs
	cpu        float64 // of its main thread, in µs: with the commands' way in and out
	at         time.Time
}

func usageOf(b *scope, c redis.UniversalClient) usage {
	b.Helper()
	u := usage{at: time.Now()}
	for _, name := range []string{"used_cpu_user_main_thread", "used_cpu_sys_main_thread"} {
		u.cpu += 1e6 * infoOf(b, c, "cpu", name)
	}
	text, err := c.Info(context.Background(), "commandstats").Result()
	must(b, err)
	for entry := range strings.SplitSeq(text, "\r\n") {
		name, stats, ok := strings.Cut(strings.TrimPrefix(entry, "cmdstat_"), ":")
		if !ok || name == "info" {
			continue
		}
		number := func(field string) float64 {
			_, v, _ := strings.Cut(","+stats, ","+field+"=")
			v, _, _ = strings.Cut(v, ",")
			f, _ := strconv.ParseFloat(v, 64)
			return f
		}
		u.commands += number("calls")
		if isScript(name) {
			u.scripts += number("calls")
			u.scriptTime += number("usec")
		}
	}
	return u
}

func (u usage) since(before usage) usage {
	return usage{
		commands: u.commands - before.commands, scripts: u.scripts - before.scripts,
		scriptTime: u.scriptTime - before.scriptTime, cpu: u.cpu - before.cpu, at: before.at,
	}
}

func isScript(command string) bool {
	return slices.Contains([]string{"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"}, strings.ToLower(command))
}

// slowest is the time of the slowest of Redis's scripts while f runs, in µs. of chooses
// among the calls of each script; with the median, a call that lost its CPU does not
// count.
func slowest(b *scope, c redis.UniversalClient, of func([]float64) float64, f func()) float64 {
	b.Helper()
	ctx := context.Background()
	answers := func() bool {
		return await(b, "for an answer of Redis", func() bool { return c.Ping(ctx).Err() == nil })
	}
	if !answers() { // after a script that was too long for its client
		return none
	}
	must(b, c.ConfigSet(ctx, "slowlog-max-len", "20000").Err())
	must(b, c.ConfigSet(ctx, "slowlog-log-slower-than", "10").Err()) // the commands inside scripts are not worth a line
	must(b, c.Do(ctx, "slowlog", "reset").Err())
	f()
	if !answers() {
		return none
	}
	logs, err := c.SlowLogGet(ctx, -1).Result()
	must(b, err)
	took := map[string][]float64{}
	for _, l := range logs {
		if len(l.Args) > 1 && isScript(l.Args[0]) {
			took[l.Args[1]] = append(took[l.Args[1]], micros(l.Duration))
		}
	}
	if len(took) == 0 {
		return none
	}
	longest := 0.0
	for _, all := range took {
		longest = max(longest, of(all))
	}
	return longest
}
