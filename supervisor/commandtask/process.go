package commandtask

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// process is one run of a program.
type process struct {
	account     account
	path        string
	args        []string // the first one is the program's name
	directory   string
	environment []string
	input       []byte
	output      head
	errors      tail
	grace       time.Duration

	state   *os.ProcessState
	stopped bool // the program was sent SIGTERM, or was killed
}

// run runs the program. It returns when the program has ended, the rest of its process
// group has been killed, and the program's output has been read. The error means that the
// program could not be started.
func (p *process) run(ctx context.Context) error {
	pipes, err := openPipes()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path: p.path, Args: p.args, Dir: p.directory, Env: p.environment,
		Stdin: pipes.theirs[0], Stdout: pipes.theirs[1], Stderr: pipes.theirs[2],
	}
	setProcessGroup(cmd)
	p.account.apply(cmd)
	started, exited, reap, reaped := make(chan error, 1), make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		// On Linux the program is killed when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		awaitExit(cmd)
		close(exited)
		<-reap
		_ = cmd.Wait() // the state says how it ended
		close(reaped)
	}()
	err = <-started
	pipes.closeTheirs()
	if err != nil {
		pipes.closeOurs()
		return err
	}
	fed, copied := p.feed(pipes), p.copy(pipes)
	p.await(ctx, cmd, exited, copied)
	// This comes before the leader is reaped: until then no other group can get its id.
	// Only Linux can wait without reaping (awaitExit).
	kill(cmd)
	<-exited
	close(reap)
	<-reaped
	p.state = cmd.ProcessState
	// Only a process that left the group can still hold a pipe open.
	waitAtMost(copied, p.grace/4)
	pipes.closeOurs()
	<-copied
	<-fed
	return nil
}

// await returns when the program has ended by itself or, after the end of ctx and SIGTERM,
// when the program has ended or half of the grace time is over.
func (p *process) await(ctx context.Context, cmd *exec.Cmd, exited, copied <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-ctx.Done():
	}
	select {
	case <-exited: // if the program ended at the same moment as ctx, its exit code counts
		return
	default:
	}
	p.stopped = true
	terminate(cmd)
	over := time.NewTimer(p.grace / 2)
	defer over.Stop()
	// The program's children have the same time, also if the program ends before them:
	// they normally keep its output open as long as they live.
	for _, ended := range []<-chan struct{}{exited, copied} {
		select {
		case <-ended:
		case <-over.C:
			return
		}
	}
}

// feed writes the program's input. Errors are ignored: a program need not read it.
func (p *process) feed(pipes *pipes) <-chan struct{} {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = pipes.ours[0].Write(p.input)
		_ = pipes.ours[0].Close()
	}()
	return fed
}

// copy reads standard output and standard error until both have ended.
func (p *process) copy(pipes *pipes) <-chan struct{} {
	ends := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(&p.output, pipes.ours[1]); ends <- struct{}{} }()
	go func() { _, _ = io.Copy(&p.errors, pipes.ours[2]); ends <- struct{}{} }()
	copied := make(chan struct{})
	go func() {
		<-ends
		<-ends
		close(copied)
	}()
	return copied
}

// waitAtMost waits for done, at most for d.
func waitAtMost(done <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// pipes has the ends of the pipes for standard input, output and error: ours, and theirs for
// the program.
type pipes struct{ ours, theirs [3]*os.File }

func openPipes() (*pipes, error) {
	p := &pipes{}
	for i := range p.ours {
		read, write, err := os.Pipe()
		if err != nil {
			p.closeTheirs()
			p.closeOurs()
			return nil, err
		}
		p.ours[i], p.theirs[i] = read, write
		if i == 0 {
			p.ours[i], p.theirs[i] = write, read
		}
	}
	return p, nil
}

func (p *pipes) closeOurs()   { closeAll(p.ours) }
func (p *pipes) closeTheirs() { closeAll(p.theirs) }

func closeAll(files [3]*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
