package rpcregistry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/wire"
)

// Pong is the response of api.ping.
type Pong struct {
	Node        string    `json:"node"`
	Incarnation string    `json:"incarnation"`
	At          time.Time `json:"at"` // when the node answered, on Redis's clock
}

// LogLine has the arguments of api.log. By position they are ["text"], ["text", "warn"] or
// ["text", "warn", data…].
type LogLine struct {
	Text string `json:"text"`
	// Severity is a zerolog level, or one of syslog as the original has them, such as
	// "warning" and "crit". The default is info. Levels above error are logged as error. An
	// unknown level is logged as info, with the field severity.
	Severity string `json:"severity,omitempty"`
	// Data is logged beside the text. By position it may be several values, which are logged
	// as a list.
	Data json.RawMessage `json:"data,omitempty"`
}

// withData returns the arguments of api.log by position with all data in one.
func withData(list []json.RawMessage) ([]json.RawMessage, error) {
	if len(list) <= 3 {
		return list, nil
	}
	data, err := wire.Encode(list[2:])
	return append(list[:2:2], data), err
}

// MethodInfo describes one method in the response of api.methods.
type MethodInfo struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Result    string `json:"result"`
}

// Builtins returns the names of the methods that every endpoint has.
func Builtins() []string { return []string{"api.ping", "api.log", "api.methods"} }

// registerBuiltins registers the built-in methods, except those whose names the registry
// already has.
func (e *Endpoint) registerBuiltins() {
	if !e.registry.has("api.ping") {
		HandleStrict(Control(e.registry), "api.ping", func(context.Context, struct{}) (Pong, error) {
			return Pong{Node: e.self.ID, Incarnation: e.self.Incarnation, At: e.cfg.Bus.Now().UTC().Truncate(time.Millisecond)}, nil
		})
	}
	if !e.registry.has("api.log") {
		HandleStrict(ByPosition(Control(e.registry), withData), "api.log", func(ctx context.Context, line LogLine) (struct{}, error) {
			if line.Text == "" && isAbsent(line.Data) {
				return struct{}{}, fmt.Errorf(`%w: text is empty: write ["text"], ["text", "warn"] or ["text", "warn", data]`, ErrBadArguments)
			}
			e.logLine(ctx, line)
			return struct{}{}, nil
		})
	}
	if !e.registry.has("api.methods") {
		HandleStrict(Control(e.registry), "api.methods", func(context.Context, struct{}) ([]MethodInfo, error) {
			all := []MethodInfo{}
			for _, m := range e.Methods() {
				all = append(all, MethodInfo{Name: m.Name, Arguments: m.Arguments, Result: m.Result})
			}
			return all, nil
		})
	}
}

// logLine logs a peer's text as a field, where it is quoted: the message of a log line may
// be printed as it is, with control sequences for the terminal.
func (e *Endpoint) logLine(ctx context.Context, line LogLine) {
	level, known := levelOf(line.Severity)
	from := FromContext(ctx).From
	if e.cfg.OnLog != nil && e.cfg.OnLog(from, line.Text) {
		return
	}
	to := e.log.WithLevel(level).Str("from", from.ID).Str("text", line.Text)
	if !known {
		to = to.Str("severity", line.Severity)
	}
	var data bytes.Buffer
	if !isAbsent(line.Data) && json.Compact(&data, line.Data) == nil { // one line, whatever white space it has
		to = to.RawJSON("data", data.Bytes())
	}
	to.Msg("api.log")
}

// levelOf returns the level for a severity (see [LogLine]), and whether it is one.
func levelOf(severity string) (level zerolog.Level, known bool) {
	switch severity {
	case "":
		return zerolog.InfoLevel, true
	case "warning":
		return zerolog.WarnLevel, true
	case "notice":
		return zerolog.InfoLevel, true
	case "emerg", "alert", "crit":
		return zerolog.ErrorLevel, true
	}
	level, err := zerolog.ParseLevel(severity)
	if err != nil || level == zerolog.NoLevel || level < zerolog.TraceLevel || level == zerolog.Disabled {
		return zerolog.InfoLevel, false
	}
	return min(level, zerolog.ErrorLevel), true
}
