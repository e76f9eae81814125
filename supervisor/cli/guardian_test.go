package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/guard"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Variables for the test binary as a program.
const (
	hangs   = "STELLAR_TEST_HANGS"   // it does not end after cli.Main
	limited = "STELLAR_TEST_LIMITED" // its guardian has the usual limits of crashes
	stuck   = "STELLAR_TEST_STUCK"   // while there is a file of that name, no app is made
	// programFile is the path of the program, where it is not that of the tests.
	programFile = "STELLAR_TEST_PROGRAM"
)

// changeGuardian has a guardian start children again at once, however often they die.
func changeGuardian(f *family) {
	f.limits = func(c *guard.Config) {
		if os.Getenv(limited) == "" {
			c.CrashLimit, c.Backoff, c.MaxBackoff, c.LongLife = -1, 20*time.Millisecond, 20*time.Millisecond, time.Millisecond
		}
		if os.Getenv(stuck) != "" {
			c.ReadyTime = 3 * time.Second
		}
	}
}

// doomedApp ends its process soon.
func doomedApp() (*worker.App, error) {
	go func() {
		time.Sleep(30 * time.Millisecond)
		panic("doomed from the start")
	}()
	return worker.NewApp(), nil
}

// guardedApp notes in Redis when its tasks begin, and counts in the cluster's cache.
func guardedApp() (*worker.App, error) {
	for isThere(os.Getenv(stuck)) {
		time.Sleep(10 * time.Millisecond)
	}
	_, _ = os.Stderr.WriteString("the app is made\n")
	app := echoApp()
	o, err := redis.ParseURL(os.Getenv("REDIS_URL")) // which a child has from its guardian
	if err != nil {
		return nil, err
	}
	c := redis.NewClient(o)
	tasks.Handle(app, tasks.Definition{Name: "add"}, func(ctx context.Context, n int64) error {
		tasks.Tx(ctx).Increment("sum", n)
		return link.Sleep(ctx, time.Millisecond)
	})
	// hold notes the process and the time of each run, and goes on for so long at the first one.
	tasks.Handle(app, tasks.Definition{Name: "hold"}, func(ctx context.Context, ms int) error {
		begun := strconv.Itoa(os.Getpid()) + " " + strconv.FormatInt(time.Now().UnixNano(), 10)
		runs, err := c.RPush(context.WithoutCancel(ctx), "hold:"+tasks.InfoOf(ctx).ID, begun).Result()
		if err != nil || runs > 1 {
			return err
		}
		return link.Sleep(ctx, time.Duration(ms)*time.Millisecond)
	})
	tasks.Handle(app, tasks.Definition{Name: "grow"}, func(_ context.Context, mib int) error { return grow(int64(mib) << 20) })
	tasks.Handle(app, tasks.Definition{Name: "explode"}, func(ctx context.Context, _ struct{}) error {
		go func() { panic("in a goroutine of its own") }()
		return link.Sleep(ctx, time.Minute)
	})
	tasks.Handle(app, tasks.Definition{Name: "lock", MaxAttempts: 1}, func(ctx context.Context, name string) error {
		if _, err := worker.FromContext(ctx).Cache.Lock(ctx, name, time.Minute); err != nil {
			return err
		}
		c.Set(ctx, "locked:"+name, os.Getpid(), 0)
		return link.Sleep(ctx, time.Minute)
	})
	return app, nil
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// grown is the memory of grow.
var grown [][]byte

// grow makes the process have so many bytes of memory, for good.
func grow(to int64) error {
	for {
		var size, resident int64
		text, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(text), &size, &resident); err != nil || resident*int64(os.Getpagesize()) > to {
			return err
		}
		more := make([]byte, 4<<20)
		for i := 0; i < len(more); i += 4 << 10 {
			more[i] = 1
		}
		grown = append(grown, more)
	}
}

// begun parses what hold has noted.
func begun(entry string) (pid int, at time.Time) {
	first, second, _ := strings.Cut(entry, " ")
	pid, _ = strconv.Atoi(first)
	ns, _ := strconv.ParseInt(second, 10, 64)
	return pid, time.Unix(0, ns)
}

// What cannot work with several processes is refused before any is started.
func TestProcessesThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  environment
		args []string
		says string
	}{
		"an exact id":  {environment{"REDIS_URL": "redis://127.0.0.1:1"}, []string{"--processes", "2", "--id", "one"}, "--id"},
		"no Redis":     {nil, []string{"--processes", "2"}, "set REDIS_URL"},
		"too many":     {nil, []string{"--processes", "1000"}, "not between 0 and 128"},
		"less than 0":  {nil, []string{"--processes", "-1"}, "not between 0 and 128"},
		"not a number": {nil, []string{"--processes", "two"}, "--processes"},

		"memory of no children": {nil, []string{"--max-memory", "512MiB"}, "--max-memory: it is for child processes, and there are none: give --processes"},
		"no memory":             {nil, []string{"--processes", "1", "--max-memory", "much"}, "--max-memory: \"much\" is not a size such as 65536, 64KiB or 1GiB"},
		"hardly any memory":     {nil, []string{"--processes", "1", "--max-memory", "31MiB"}, "31MiB is less than a process needs to begin with: use at least 32MiB"},
		"megabytes":             {environment{"STELLAR_MAX_MEMORY": "512M", "STELLAR_PROCESSES": "1"}, nil, "STELLAR_MAX_MEMORY: \"512M\" is not a size"},
	} {
		env := home(t)
		maps.Copy(env, c.env)
		r := stellar(t, env, append([]string{"run"}, c.args...)...)
		require.Equal(t, exitUsage, r.code, name)
		require.Contains(t, r.err, c.says, name)
	}
}
