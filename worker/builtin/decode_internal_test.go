package builtin

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

func TestEveryOptionOfATaskCanBeSentByCall(t *testing.T) {
	seen := map[string]bool{"name": true, "payload": true}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[tasks.Options]()) {
		if !field.IsExported() {
			continue
		}
		name, omit, _ := strings.Cut(field.Tag.Get("json"), ",")
		require.NotEmpty(t, name, "%s has no name in JSON", field.Name)
		require.Contains(t, omit, "omit", field.Name)
		require.False(t, seen[name], "%s is there twice", name)
		seen[name] = true

		var want tasks.Options
		var sent any
		switch v := reflect.ValueOf(&want).Elem().FieldByIndex(field.Index); v.Interface().(type) {
		case time.Duration:
			v.SetInt(int64(1500 * time.Millisecond))
			sent = 1500
		case time.Time:
			v.Set(reflect.ValueOf(time.UnixMilli(4e12)))
			sent = 4e12
		case tasks.Priority:
			v.SetInt(int64(tasks.Low))
			sent = "low"
		default:
			require.NoError(t, json.Unmarshal([]byte(map[reflect.Kind]string{
				reflect.Int: "7", reflect.String: `"x"`, reflect.Bool: "true", reflect.Slice: `["x"]`, reflect.Map: `{"x":"y"}`,
			}[v.Kind()]), v.Addr().Interface()), field.Name)
			sent = v.Interface()
		}
		text, err := json.Marshal(map[string]any{"name": "n", name: sent})
		require.NoError(t, err)
		var got taskEnqueue
		require.NoError(t, decode(text, &got))
		require.Equal(t, taskEnqueue{Name: "n", Options: want}, got)
	}
}

// Callers give arguments by position too: their order cannot change.
func TestOptionsOfATaskKeepTheirPositions(t *testing.T) {
	var r rpcregistry.Registry
	registerTasks(&r, nil, nil)
	all := r.Methods()
	at := slices.IndexFunc(all, func(m rpcregistry.Method) bool { return m.Name == "api.tasks.enqueue" })
	require.GreaterOrEqual(t, at, 0)
	is := all[at].Arguments
	require.True(t, strings.HasPrefix(is, "{name: string, payload?: any, queue?: string, id?: string, in?: milliseconds, at?: time, "+
		"deadline?: time, priority?: string, maxAttempts?: number, timeout?: milliseconds, backoff?: milliseconds, maxBackoff?: milliseconds, "+
		"retention?: milliseconds, wantResult?: boolean, unique?: string, uniqueFor?: milliseconds, after?: [string], "+
		"meta?: {*: string}, await?: boolean, anyName?: boolean, group?: string"), is)
}

func TestTimesInArguments(t *testing.T) {
	type arguments struct {
		D time.Duration  `json:"d,omitempty"`
		P *time.Duration `json:"p,omitempty"`
		T time.Time      `json:"t,omitzero"`
		tasks.Filter
	}
	at := time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC)
	for text, want := range map[string]arguments{
		`{}`:                           {},
		`{"d":null,"t":null}`:          {},
		`{"d":0,"t":0}`:                {},
		`{"p":null}`:                   {},
		`{"p":5}`:                      {P: new(5 * time.Millisecond)},
		`{"d":1,"limit":2}`:            {D: time.Millisecond, Filter: tasks.Filter{Limit: 2}},
		`{"t":"2027-01-31T08:00:00Z"}`: {T: at},
		`{"since":"2027-01-31T08:00:00Z","states":["dead"]}`: {Filter: tasks.Filter{Since: at, States: []tasks.State{tasks.Dead}}},
	} {
		var got arguments
		require.NoError(t, decode([]byte(text), &got), text)
		require.Equal(t, want, got, text)
	}
	for text, says := range map[string]string{
		`{"d":-1}`: "a duration of -1 ms: use 0 to", `{"d":4611686018427387904}`: "use 0 to", `{"d":1.5}`: "use whole milliseconds",
		`{"d":"1s"}`: "use whole milliseconds", `{"t":"tomorrow"}`: "is no time", `{"t":true}`: "is no time", `{"x":1}`: `unknown field "x"`,
	} {
		require.ErrorContains(t, decode([]byte(text), &arguments{}), says, text)
	}
	var d time.Duration
	require.NoError(t, decode([]byte("250"), &d), "by position")
	require.Equal(t, 250*time.Millisecond, d)
	var when time.Time
	require.NoError(t, decode([]byte(`"2027-01-31T08:00:00Z"`), &when))
	require.Equal(t, at, when)
}

func TestNoTwoErrorsAreTheSameCode(t *testing.T) {
	seen := map[rpcregistry.Code]bool{}
	for _, code := range []rpcregistry.Code{
		ErrNotFound, ErrLocked, ErrLockLost, ErrConflict, ErrWrongType, ErrQueueFull, ErrActive, ErrState, ErrDead, ErrCancelled,
		ErrRedisFull, ErrRedisUnavailable, ErrUnknownOutcome, ErrSetBusy, ErrSetNotRunning, ErrSetSize,
		rpcregistry.ErrNoSuchTarget, rpcregistry.ErrNoSuchConnection, rpcregistry.ErrNoSuchMethod, rpcregistry.ErrDenied,
		rpcregistry.ErrBadArguments, rpcregistry.ErrFailed, rpcregistry.ErrPanicked, rpcregistry.ErrTooLarge, rpcregistry.ErrBusy,
		rpcregistry.ErrNodeDown, rpcregistry.ErrTimeout, rpcregistry.ErrUnavailable,
	} {
		require.False(t, seen[code], string(code))
		seen[code] = true
	}
}
