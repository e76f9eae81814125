package ownredis

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// startOf returns when the process began, in ticks of the kernel since the machine's start, or ""
// if there is no such process or it has ended.
func startOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on: the second is a name with anything in it
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// endWithThread has the process end, at once, when the thread that starts it ends.
func endWithThread(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }

// stranger returns the number and the name of a server that works in the directory, 0 if there is
// none that this process can see.
func stranger(dir string) (pid int, name string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range found {
		if at, err := os.Readlink(link); err != nil || at != dir {
			continue
		}
		process := filepath.Dir(link)
		text, err := os.ReadFile(filepath.Join(process, "comm"))
		if name = strings.TrimSpace(string(text)); err != nil || !slices.Contains(names, name) {
			continue
		}
		pid, _ = strconv.Atoi(filepath.Base(process))
		return pid, name
	}
	return 0, ""
}
