package cluster

import (
	"context"
	"io"
)

// Interruptible returns a reader of what open returns, whose reads fail when ctx ends: neither
// a pipe without a writer nor a terminal without a user keeps a command from ending. If ctx
// ends while open or a read waits, their goroutine waits on until the process ends.
func Interruptible(ctx context.Context, open func() (io.Reader, error)) io.ReadCloser {
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = in.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		r, err := open()
		if err == nil {
			_, err = io.Copy(in, r)
		}
		if c, ok := r.(io.Closer); ok {
			_ = c.Close()
		}
		_ = in.CloseWithError(err) // io.EOF for nil
	}()
	return out
}
