// Package files has the files that exports write and imports read.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// NameOf returns what errors call the file of an import.
func NameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// Open opens the file of an import: a regular file, a pipe, or - for standard input.
func Open(ctx context.Context, e *cluster.Env, file string) (io.ReadCloser, error) {
	if file == "-" {
		return e.StdinReader(ctx), nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, config.Usagef("%s: %w", file, service.WithoutPath(err))
	}
	if !info.Mode().IsRegular() && !info.IsDir() { // opening a pipe waits for its writer
		return cluster.Interruptible(ctx, func() (io.Reader, error) { return os.Open(file) }), nil
	}
	f, err := link.OpenRegular(file)
	if err != nil {
		return nil, config.Usagef("%s: %w", file, service.WithoutPath(err))
	}
	return f, nil
}

// readerInterval is how often an export looks for the reader of a pipe.
const readerInterval = 50 * time.Millisecond

// Replace writes a temporary file and renames it to name, so that a failed export
// does not destroy the previous file. If name exists and is not a regular file, such as
// a pipe, Replace writes to it directly, and waits for the reader of the pipe before.
func Replace(ctx context.Context, name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := service.OpenDevice(name)
		for errors.Is(err, service.ErrNoReader) {
			if err := link.Sleep(ctx, readerInterval); err != nil {
				return context.Cause(ctx)
			}
			f, err = service.OpenDevice(name)
		}
		if err != nil {
			return config.Usagef("%s: %w", name, service.WithoutPath(err))
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // with mode 0600: only its owner may read the data
	if err != nil {
		return config.Usagef("%s: %w", name, service.WithoutPath(err))
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
