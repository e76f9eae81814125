package timeline

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

var (
	//go:embed lua/write.lua
	writeLua    string
	writeScript = link.NewScript(link.LuaPrelude, writeLua)
)

// writer writes events. Its numbers tell Redis which of them were written already.
type writer struct {
	client redis.UniversalClient
	keys   link.Keys
	name   string // random
}

func newWriter(c redis.UniversalClient, keys link.Keys) writer {
	return writer{client: c, keys: keys, name: strings.ToLower(rand.Text()[:12])}
}

// noted is an event with the times of the process that saw it.
type noted struct {
	Event

	number      int64     // of the writer, from 1
	first, last time.Time // of Count events
}

// write writes the events, the oldest first. again: some of them may have been written.
func (w writer) write(ctx context.Context, events []*noted, again bool) error {
	args := []any{w.name, again, MaxEvents, MaxAge.Milliseconds()}
	for _, n := range events {
		e := n.bounded()
		text, err := e.encode(n.last.Sub(n.first))
		if err != nil {
			return fmt.Errorf("event %s: %w", e.Kind, err)
		}
		deploy := ""
		if e.Kind == Deploy {
			deploy = e.Process.Program + "\n" + e.Process.Version
		}
		args = append(args, n.number, max(time.Since(n.first), 0).Milliseconds(), deploy, text)
	}
	_, err := writeScript.Call(ctx, w.client, []string{w.keys.Events(), w.keys.Versions()}, args...)
	if err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
