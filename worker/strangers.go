package worker

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"runtime/debug"
	"slices"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/worker/membership"
)

// othersNamed is how many other processes a warning of [Host.noticeOthers] names.
const othersNamed = 5

// noticeOthers looks for live nodes of other processes that do not go with this one, and
// logs a warning for each kind. Every node calls it after its join, and the first call of the
// process looks. So of two processes that start at the same time, at least one sees the
// other.
func (h *Host) noticeOthers(ctx context.Context) {
	if h.noticed.Swap(true) {
		return
	}
	var members []membership.Member
	err := h.reports.Retry(ctx, "start", func(ctx context.Context) (err error) {
		members, err = h.directory.List(ctx)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("not known whether nodes of other programs, or of another token mode, are in the namespace")
		}
		return
	}
	h.noticeStrangers(members)
	h.noticeModes(members)
}

// noticeStrangers warns if the namespace is the default, which nobody chose, and nodes of
// other programs are in it: they share queues, cache and messages with this program.
// Records of older programs have no name: nobody knows whose they are.
func (h *Host) noticeStrangers(members []membership.Member) {
	own := h.process.Program
	others := processes(members, func(p membership.Process) bool { return own != "" && p.Program != "" && p.Program != own })
	if h.cfg.Redis.Namespace != "" || len(others) == 0 {
		return
	}
	h.log.Warn().Str("namespace", h.keys.Namespace()).Str("program", own).Int("processes", len(others)).Strs("others", firstOf(others)).
		Msg("nodes of another program are in the default namespace, and share its queues, cache and messages with this one: " +
			"set a namespace of this program's own (--namespace or STELLAR_NAMESPACE; Redis.Namespace in Go), or ignore this if it is meant")
}

// noticeModes warns of nodes whose token mode makes them and this process's nodes drop each
// other's messages.
func (h *Host) noticeModes(members []membership.Member) {
	own, other := h.process.TokenMode, link.Mode("")
	others := processes(members, func(p membership.Process) bool {
		if p.TokenMode == "" || own.Understands(p.TokenMode) {
			return false
		}
		other = p.TokenMode // there is only one that own does not understand
		return true
	})
	if len(others) == 0 {
		return
	}
	h.log.Warn().Str("mode", string(own)).Str("other", string(other)).Int("processes", len(others)).Strs("others", firstOf(others)).
		Msg("nodes of another token mode are in this cluster: they and this process drop each other's calls and messages, " +
			"and share only tasks and cache: give all the same token mode " +
			"(--token-mode or STELLAR_TOKEN_MODE; Redis.TokenMode in Go), or \"both\" to all while the mode changes")
}

func firstOf(processes []string) []string { return processes[:min(len(processes), othersNamed)] }

// processes describes the processes with live nodes for which choose returns true, each
// once.
func processes(members []membership.Member, choose func(membership.Process) bool) []string {
	var all []string
	seen := map[membership.Process]bool{}
	for _, m := range members {
		p := m.Process
		if !m.Live || seen[p] || !choose(p) {
			continue
		}
		seen[p] = true
		text := fmt.Sprintf("process %d on %s", p.PID, p.Host)
		if p.Program != "" {
			text = p.Program + ": " + text
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
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
