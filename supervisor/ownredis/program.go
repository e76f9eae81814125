package ownredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// program is an installed server.
type program struct {
	path         string
	major, minor int
	version      string // as the program tells it
}

// The oldest version that the scripts run on.
const (
	leastMajor = 6
	leastMinor = 2
)

// names are the names of programs that are looked for on the PATH, in order.
var names = []string{"redis-server", "valkey-server"}

const howToInstall = "install Redis 6.2 or newer, or Valkey (Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; " +
	"Alpine: apk add redis; macOS: brew install redis), or run one elsewhere and give its address instead of a data directory"

// findProgram returns the program at path or, if path is empty, the first on the PATH.
func findProgram(ctx context.Context, path string) (program, error) {
	if path != "" {
		return askVersion(ctx, path, versionTime)
	}
	var tooOld error
	for _, name := range names {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		p, err := askVersion(ctx, found, versionTime)
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		if tooOld == nil {
			tooOld = err
		}
	}
	if tooOld != nil {
		return program{}, tooOld
	}
	return program{}, as(ErrNotInstalled, fmt.Errorf("neither %s is on the PATH: %s", strings.Join(names, " nor "), howToInstall))
}

// versionText matches the version in the line that a server prints for --version, such as
// "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64".
var versionText = regexp.MustCompile(`\bv=((\d+)\.(\d+)\.\S+)`)

// versionTime is how long a program may take to tell its version: its file may be on a slow disk of a busy machine.
const versionTime = 10 * time.Second

// askVersion returns the program at path. An answer that has not come in time says nothing about the program: the
// error is none of [ErrNotInstalled] then.
func askVersion(ctx context.Context, path string, within time.Duration) (program, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return program{}, err
	}
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(asking, path, "--version")
	cmd.Env, cmd.WaitDelay = environment, time.Second
	said, err := cmd.CombinedOutput()
	m := versionText.FindSubmatch(said)
	switch {
	case ctx.Err() != nil:
		return program{}, context.Cause(ctx)
	case err != nil && asking.Err() != nil:
		return program{}, fmt.Errorf("%s --version has not answered within %v: the machine or its disk is too busy, try again (%w)",
			path, within, asking.Err())
	}
	if err != nil || m == nil {
		return program{}, as(ErrNotInstalled, fmt.Errorf("%s --version says %.100q (%w): is it a Redis? %s",
			path, said, cmp.Or(err, errNoVersion), howToInstall))
	}
	p := program{path: path, version: string(m[1])}
	p.major, _ = strconv.Atoi(string(m[2]))
	p.minor, _ = strconv.Atoi(string(m[3]))
	if p.major < leastMajor || p.major == leastMajor && p.minor < leastMinor {
		return program{}, as(ErrNotInstalled, fmt.Errorf("%s is version %s, which is too old: %s", path, p.version, howToInstall))
	}
	return p, nil
}

var errNoVersion = errors.New("no version in it")

// environment is that of the server: the secrets in this process's own are none of its business.
var environment = []string{"LC_ALL=C"}
