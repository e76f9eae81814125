package worker

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"runtime/debug"
	"slices"

	"github.com/stellarfw/stellar/worker/membership"
)

// strangersNamed is how many processes of other programs [Host.noticeStrangers] names.
const strangersNamed = 5

// noticeStrangers logs one warning if the namespace is the default, which nobody chose, and
// live nodes of other programs are in it: they share queues, cache and messages with this
// program. Every node calls it after its join, and the first call of the process looks. So of
// two programs that start at the same time, at least one sees the other.
func (h *Host) noticeStrangers(ctx context.Context) {
	if h.cfg.Redis.Namespace != "" || h.noticed.Swap(true) {
		return
	}
	var members []membership.Member
	err := h.reports.Retry(ctx, "start", func(ctx context.Context) (err error) {
		members, err = h.directory.List(ctx)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("not known whether other programs use the default namespace too")
		}
		return
	}
	others := strangers(h.process.Program, members)
	if len(others) == 0 {
		return
	}
	named := others[:min(len(others), strangersNamed)]
	h.log.Warn().Str("namespace", h.keys.Channel()).Str("program", h.process.Program).Int("processes", len(others)).Strs("others", named).
		Msg("nodes of another program are in the default namespace, and share its queues, cache and messages with this one: " +
			"set a namespace of this program's own (--namespace or STELLAR_NAMESPACE; Redis.Namespace in Go), or ignore this if it is meant")
}

// strangers describes the processes of other programs that have live nodes. Records of
// older programs have no name: nobody knows whose they are.
func strangers(own string, members []membership.Member) []string {
	var others []string
	seen := map[membership.Process]bool{}
	for _, m := range members {
		p := m.Process
		if !m.Live || own == "" || p.Program == "" || p.Program == own || seen[p] {
			continue
		}
		seen[p] = true
		others = append(others, fmt.Sprintf("%s: process %d on %s", p.Program, p.PID, p.Host))
	}
	slices.Sort(others)
	return others
}

// majorVersion is the end of a module's path that names no program, such as "/v2".
var majorVersion = regexp.MustCompile(`/v\d+$`)

// build returns the name of the program and its version: the last element of the main
// module's path and that module's version in the build information. Both are "" if there
// is none.
func build() (program, version string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	return programOf(info.Main.Path), info.Main.Version
}

func programOf(module string) string {
	if module == "" {
		return ""
	}
	return path.Base(majorVersion.ReplaceAllString(module, ""))
}
