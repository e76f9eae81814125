package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
)

// sums reads the sums that the nodes have added up in the cluster's cache.
func (d *demo) sums(ctx context.Context) (s Sums, err error) {
	entries := cache.New(cache.Config{Client: d.redis, Keys: d.cfg.Set.Redis.Keys()})
	for _, c := range []struct {
		key string
		to  *int64
	}{{linesKey, &s.Lines}, {wordsKey, &s.Words}, {bytesKey, &s.Bytes}} {
		// Adding 0 reads a counter, and yields 0 for a counter that does not exist yet.
		if *c.to, err = entries.Increment(ctx, c.key, 0); err != nil {
			return s, fmt.Errorf("read the sums: %w", err)
		}
	}
	return s, nil
}

// direct counts the same files in this process, one after the other. For a file that
// has changed since it was listed, it uses the counts of the nodes; changed is the
// number of such files.
func (d *demo) direct(ctx context.Context) (s Sums, changed int, err error) {
	for i, f := range d.files {
		own, err := f.count(ctx)
		if ctx.Err() != nil {
			return s, changed, context.Cause(ctx)
		}
		if err != nil || !f.same() {
			changed++
			if d.cfg.Steps {
				own, err = d.fileCounted(ctx, i)
			} else {
				own, err = d.result(ctx, f)
			}
			if err != nil {
				return s, changed, err
			}
		}
		s = s.plus(own)
	}
	return s, changed, nil
}

// result returns the counts of a file from the result of the file's task.
func (d *demo) result(ctx context.Context, f file) (Sums, error) {
	text, _, err := d.tasks.Result(ctx, f.task)
	if err != nil {
		return Sums{}, fmt.Errorf("what the nodes counted in %s: %w", f.path, err)
	}
	var c Counted
	if err := decode(text, &c); err != nil {
		return Sums{}, fmt.Errorf("what the nodes counted in %s: %w", f.path, err)
	}
	return c.Sums, nil
}

// compare counts the files directly and prints the report. It returns [ErrDifferent] if
// the sums differ from those of the cluster.
func (d *demo) compare(ctx context.Context) error {
	cluster, err := d.sums(ctx)
	if err != nil {
		return err
	}
	counts, err := d.inspector.Counts(ctx)
	if err != nil {
		return err
	}
	what := "all tasks are"
	if d.cfg.Steps {
		what = "the task is"
	}
	d.shown.line(fmt.Sprintf("%s done; counting the same %s directly, one after the other", what, link.Count(len(d.files), "file")))
	began := time.Now()
	direct, changed, err := d.direct(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	report := d.set.Report()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-12s %12s %12s %14s\n", "", "lines", "words", "bytes")
	for _, row := range []struct {
		name string
		s    Sums
	}{{"the nodes", cluster}, {"directly", direct}} {
		fmt.Fprintf(&b, "%-12s %12d %12d %14d\n", row.name, row.s.Lines, row.s.Words, row.s.Bytes)
	}
	which := fmt.Sprintf("%d (one for each file)", len(d.files))
	if d.cfg.Steps {
		which = fmt.Sprintf("1 (for %s, a checkpoint after each)", link.Count(len(d.files), "file"))
	}
	fmt.Fprintf(&b, "\ntasks           %s, %d done, %d dead\n", which, counts.Done, counts.Dead)
	fmt.Fprintf(&b, "crashes         %d\n", report.Crashes)
	fmt.Fprintf(&b, "take-overs      %s\n",
		link.Count(report.HandedOn, "task handed on from crashed nodes", "tasks handed on from crashed nodes"))
	fmt.Fprintf(&b, "handler starts  %d\n", report.Started)
	fmt.Fprintf(&b, "time            %s on the nodes, %s directly\n", d.took.Round(time.Millisecond), took.Round(time.Millisecond))
	if n := d.skipped.other; n > 0 {
		fmt.Fprintf(&b, "left out        %s, not text or not regular\n", link.Count(n, "file"))
	}
	if n := d.skipped.unreadable; n > 0 {
		fmt.Fprintf(&b, "left out        %s not be read\n", link.Count(n, "file or directory that can", "files or directories that can"))
	}
	if changed > 0 {
		fmt.Fprintf(&b, "changed         %s meanwhile: what the nodes counted of that is in both sums\n",
			link.Count(changed, "file changed or vanished", "files changed or vanished"))
	}
	verdict := error(nil)
	if cluster == direct {
		b.WriteString("\nThe sums are equal: no file is missing and none was counted twice.\n")
	} else {
		b.WriteString("\nTHE SUMS DIFFER.\n")
		verdict = ErrDifferent
	}
	d.shown.line(strings.TrimSuffix(b.String(), "\n"))
	return verdict
}
