package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// childJob, in the environment, makes a process of this program a child of a benchmark.
const childJob = "STELLAR_BENCH_CHILD"

// job is what a child does.
type job struct {
	URL           string
	Nodes, Queues int
	PerSecond     int           // delayed tasks that the child enqueues
	Lasting       time.Duration // for how long it does or rests
	Settle        time.Duration // the rest before that
	Number        int           // of the child
	Outage        time.Duration // for how long Redis is away (see childOutage)
	PID           int           // of that Redis; 0: the embedded one
}

// temporary is a folder that is removed at the end.
var temporary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stellar-bench-")
	tempDir = dir
	return dir, err
})

var tempDir string

// quiet drops the lines of go-redis's own log, such as those about a Redis that does not
// listen yet.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	text := os.Getenv(childJob)
	if text == "" {
		code := m.Run()
		if tempDir != "" {
			_ = os.RemoveAll(tempDir)
		}
		os.Exit(code)
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		switch {
		case j.PerSecond > 0:
			err = childDelayed(j)
		case j.Outage > 0:
			err = childOutage(j)
		default:
			err = childRest(j)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a running child process. It prints one line when it is ready, if its job says
// so, waits for a byte at each of its steps, and prints its results as JSON.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder // what it printed to its stderr
}

func startChild(b *scope, j job) *child {
	b.Helper()
	text, err := json.Marshal(j)
	must(b, err)
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^$")}
	c.cmd.Env = append(os.Environ(), childJob+"="+string(text))
	c.cmd.Stderr = &c.err
	c.in, err = c.cmd.StdinPipe()
	must(b, err)
	out, err := c.cmd.StdoutPipe()
	must(b, err)
	c.out = bufio.NewReader(out)
	must(b, c.cmd.Start())
	b.Cleanup(func() {
		_ = c.in.Close() // a child that waits for a byte ends
		timer := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
		_ = c.cmd.Wait()
	})
	return c
}

// ready waits for the child's line.
func (c *child) ready(b *scope) bool {
	b.Helper()
	_, err := c.out.ReadString('\n')
	if err != nil {
		c.ended(b)
	}
	return err == nil
}

// ended notes why a child ended too early.
func (c *child) ended(b *scope) {
	b.Helper()
	_ = c.in.Close()
	_ = c.cmd.Wait() // for all of its stderr
	b.notef("%s: a child gave up: %s", b.side, strings.TrimSpace(c.err.String()))
}

// step makes the child go on.
func (c *child) step() { _, _ = c.in.Write([]byte("\n")) }

func (c *child) results(b *scope, into any) bool {
	b.Helper()
	err := json.NewDecoder(c.out).Decode(into)
	if err != nil {
		c.ended(b)
	}
	return err == nil
}

// awaitStep is the child's side of [child.step].
func awaitStep() error {
	_, err := os.Stdin.Read(make([]byte, 1))
	return err
}

// cpuTime is the CPU time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
