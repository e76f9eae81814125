package demo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// TreeTask is the name of the task that counts all files, one after the other, with a
// checkpoint after each.
const TreeTask = "demo.tree"

// leastProgress is how many checkpoints a run gets before its node is crashed: a run
// that stores only one has not got on.
const leastProgress = 2

// Tree is the state that the task [TreeTask] stores.
type Tree struct {
	Next int `json:"next"` // index of the file that is counted next
}

// registerTree registers the task [TreeTask] with r.
func (d *demo) registerTree(r tasks.Registrar) {
	tasks.Handle(r, tasks.Definition{
		Name: TreeTask, MaxAttempts: 5, Backoff: 20 * time.Millisecond, MaxBackoff: time.Second, Retention: retention,
	}, d.countTree)
}

// countTree is the handler of the task [TreeTask].
func (d *demo) countTree(ctx context.Context, _ struct{}) error {
	var at Tree
	if _, err := tasks.Restore(ctx, &at); err != nil {
		return err
	}
	for run := 0; ; run++ {
		f, ok := d.file(at.Next)
		if !ok {
			return nil
		}
		d.reached(worker.FromContext(ctx).ID(), at.Next, run)
		s, err := f.count(ctx)
		if err != nil && !gone(err) {
			return err
		}
		add(ctx, s)
		tasks.Tx(ctx).Save(fileKey(at.Next), Counted{Sums: s, Gone: err != nil}, 0)
		at.Next++
		if err := tasks.Checkpoint(ctx, at); err != nil {
			return err
		}
	}
}

// fileKey is the key of the cache entry with the counts of one file.
func fileKey(file int) string { return "demo:file:" + strconv.Itoa(file) }

// whereabouts says how far the task [TreeTask] is.
type whereabouts struct {
	node string // that runs it
	file int
	run  int // checkpoints of this run
}

func (d *demo) reached(node string, file, run int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tree = whereabouts{node, file, run}
}

func (d *demo) whereabouts() whereabouts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tree
}

// enqueueTree lists the files and enqueues the task [TreeTask].
func (d *demo) enqueueTree(ctx context.Context) error {
	skipped, err := list(ctx, d.cfg.Dir, chunk, func(files []file) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.files = append(d.files, files...)
		return nil
	})
	if err != nil {
		return err
	}
	if len(d.files) > 0 {
		if _, err := d.tasks.Enqueue(ctx, TreeTask, struct{}{}); err != nil {
			return err
		}
	}
	return d.allListed(skipped)
}

// fileCounted returns the counts of a file that the task [TreeTask] has stored.
func (d *demo) fileCounted(ctx context.Context, file int) (Sums, error) {
	entries := cache.New(cache.Config{Client: d.redis, Keys: d.cfg.Set.Redis.Keys()})
	c, err := cache.Get[Counted](ctx, entries, fileKey(file))
	if err != nil {
		return Sums{}, fmt.Errorf("what the nodes counted in %s: %w", d.files[file].path, err)
	}
	return c.Sums, nil
}
