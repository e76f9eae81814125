//go:build unix

package ownredis_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// asProgram has the test binary run as a program that has a Redis of its own on that directory, or
// joins the one of another: "DIR", "join DIR", or "abandon DIR" for one that ends at once.
const asProgram = "STELLAR_TEST_OWNREDIS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asProgram); dir != "" {
		if err := program(dir); err != nil {
			_, _ = fmt.Fprintln(os.Stdout, err)
			os.Exit(1)
		}
		return
	}
	redistest.Main(m)
}

// program prints the number of the server's process, and runs until TERM.
func program(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ending := context.WithoutCancel(ctx)
	how, path, joins := strings.Cut(dir, " ")
	if joins {
		dir = path
		member, err := ownredis.Join(ctx, dir, zerolog.Nop())
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(os.Stdout, 0)
		<-ctx.Done()
		if how == "abandon" {
			member.Abandon(false)
			return nil
		}
		return member.Leave(ending, false)
	}
	server, err := ownredis.Open(ctx, ownredis.Config{Dir: dir, Durability: ownredis.Always})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(os.Stdout, server.PID())
	if err := server.Serve(ctx); err != nil {
		return err
	}
	return server.Close(ending)
}

// running is a program of [program].
type running struct {
	*exec.Cmd

	server int // the number of the server's process
	said   string
}

// start starts a program that ends with the test. If it has no server, said is why.
func start(t *testing.T, dir string) *running {
	t.Helper()
	p := &running{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), asProgram+"="+dir)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, redistest.StartWithTest(p.Cmd))
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	if p.server, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		p.said = line
	}
	return p
}

// end sends the program the signal and waits for its end.
func (p *running) end(signal os.Signal) {
	_ = p.Process.Signal(signal)
	_ = p.Wait()
}

// alive reports whether the process lives, and is no zombie.
func alive(pid int) bool {
	said, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return len(said) > 0 && said[0] != 'Z'
}

// open opens a server that is closed with the test, and serves it.
func open(t *testing.T, cfg ownredis.Config) *ownredis.Server {
	t.Helper()
	if cfg.Log.GetLevel() == zerolog.TraceLevel && testing.Verbose() {
		cfg.Log = zerolog.New(zerolog.NewTestWriter(t))
	}
	s, err := ownredis.Open(t.Context(), cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		require.NoError(t, s.Close(context.Background()))
	})
	return s
}
