package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog" //nolint:depguard // it shows how to come from slog
	"maps"
	"os"
	"slices"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
)

// toSlog is the output of a zerolog.Logger whose lines go to a slog.Logger.
type toSlog struct{ *slog.Logger }

// Write implements io.Writer. It gets one line at a time.
func (s toSlog) Write(line []byte) (int, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, err
	}
	var level slog.Level
	_ = level.UnmarshalText(fmt.Append(nil, fields["level"])) // what slog does not have is info
	message := fmt.Sprint(fields["message"])
	delete(fields, "level")
	delete(fields, "message")
	var attrs []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(name, fields[name]))
	}
	s.LogAttrs(context.Background(), level, message, attrs...)
	return len(line), nil
}

// A program that logs with slog gives the set a zerolog.Logger that writes to slog.
func ExampleNew_slog() {
	withoutTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	own := slog.New(slog.NewTextHandler(os.Stdout, withoutTime))
	log := zerolog.New(toSlog{own})
	log.Warn().Str("queue", "mails").Int("tasks", 3).Msg("a queue is full")

	_, err := supervisor.New(supervisor.Config{Redis: link.Config{URL: "redis://127.0.0.1:6379/0"}}, nil, log)
	fmt.Println(err)
	// Output:
	// level=WARN msg="a queue is full" queue=mails tasks=3
	// <nil>
}
