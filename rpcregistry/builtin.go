package rpcregistry

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// Pong is the response of api.ping.
type Pong struct {
	Node        string    `json:"node"`
	Incarnation string    `json:"incarnation"`
	At          time.Time `json:"at"` // when the node answered, on Redis's clock
}

// LogLine has the arguments of api.log. By position they are ["text"] or
// ["text", "warn"].
type LogLine struct {
	Text string `json:"text"`
	// Severity is a zerolog level. Default, also for an unknown level: info. Levels above
	// error are logged as error.
	Severity string `json:"severity,omitempty"`
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
		HandleStrict(Control(e.registry), "api.log", func(ctx context.Context, line LogLine) (struct{}, error) {
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
	level, err := zerolog.ParseLevel(line.Severity)
	if err != nil || level == zerolog.NoLevel || level < zerolog.TraceLevel || level == zerolog.Disabled {
		level = zerolog.InfoLevel
	}
	level = min(level, zerolog.ErrorLevel)
	from := FromContext(ctx).From
	if e.cfg.OnLog != nil && e.cfg.OnLog(from, line.Text) {
		return
	}
	e.log.WithLevel(level).Str("from", from.ID).Str("text", line.Text).Msg("api.log")
}
