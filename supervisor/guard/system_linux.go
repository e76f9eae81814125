package guard

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported reports whether this system can run a guardian.
const Supported = true

// Measures reports whether this system tells how much memory a process has.
const Measures = true

// self is the program that runs, also when another one lies at its path by now.
const self = "/proc/self/exe"

// attributes makes a child the leader of a session, by which the programs that it starts are found, and
// out of reach of the terminal's signals, which the guardian passes on. When the thread that has started the
// child ends, the kernel sends the child SIGHUP, perhaps several times: once for each thread of the
// guardian. That ends a child unless it has begun to listen, and so sees the pipe close.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGHUP}
}

// adopt has the kernel make what the programs of a dead child leave behind children of this
// process, so that it can find and reap them.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Timings of the end of a dead child's programs.
const (
	killTime = 200 * time.Millisecond // for how long they are looked for
	killLook = time.Millisecond
)

// killSession kills the processes of the session of a dead child that have become children of this
// process, with their process groups, and reaps them. It returns how many there were.
func killSession(session int) int {
	killed := map[int]bool{}
	for until := time.Now().Add(killTime); ; {
		left := 0
		for _, p := range adopted() {
			if p.session != session {
				continue
			}
			killed[p.pid] = true
			if p.dead {
				reap(p.pid)
				continue
			}
			left++
			// The process is not reaped, so its group's number cannot be another group's.
			_ = syscall.Kill(-p.group, syscall.SIGKILL)
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if left == 0 || time.Now().After(until) {
			return len(killed)
		}
		time.Sleep(killLook) //nolint:forbidigo // a thousandth of a second, and nothing to wait for
	}
}

// reapOrphans reaps the dead children of this process that nobody waits for: those that were
// dead already when it was called before, with the result of which it is called.
func reapOrphans(before map[int]bool) (dead map[int]bool) {
	dead = map[int]bool{}
	for _, p := range adopted() {
		switch {
		case !p.dead:
		case before[p.pid]:
			reap(p.pid)
		default:
			dead[p.pid] = true
		}
	}
	return dead
}

func reap(pid int) { _, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) }

// residentMemory returns how many bytes of memory a process has resident (RSS), 0 if it has ended.
func residentMemory(pid int) int64 {
	var size, resident int64
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	_, _ = fmt.Sscan(string(text), &size, &resident) // in pages
	return resident * int64(os.Getpagesize())
}

// relative is a child process of this process.
type relative struct {
	pid, parent, group, session int
	dead                        bool // and not reaped
}

// adopted returns the children of this process, those that it started among them.
func adopted() (all []relative) {
	own := os.Getpid()
	for _, pid := range candidates() {
		if r, ok := look(pid); ok && r.parent == own {
			all = append(all, r)
		}
	}
	return all
}

// candidates returns the processes that may be children of this process: its children, or all
// processes where the kernel does not list them.
func candidates() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	if len(lists) == 0 {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range bytes.FieldsSeq(text) {
			if pid, err := strconv.Atoi(string(word)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// look reads the state of a process, as proc_pid_stat(5) describes it.
func look(pid int) (r relative, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return r, false
	}
	var state byte
	n, err := fmt.Sscanf(string(text[bytes.LastIndexByte(text, ')')+1:]), " %c %d %d %d", &state, &r.parent, &r.group, &r.session)
	r.pid, r.dead = pid, state == 'Z'
	return r, err == nil && n == 4
}
