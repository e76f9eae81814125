package queue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// viewScript is what the scripts make of a record.
func viewScript() *link.Script {
	return link.NewScript(link.LuaPrelude, source("line"), source("names"), source("places"), source("moving"), `
local line, options = line_of(ARGV[1]), options_of(ARGV[1])
return {line or '', queue_of(line or ''), options.u or '', options.v and int(options.v) or '', table.concat(options.f or {}, ' '),
  due_of(options, 0) and int(due_of(options, 0)) or ''}`)
}

// Go and Lua read the same of a record, whatever it is, and Go writes what it reads.
func FuzzRecord(f *testing.F) {
	f.Add("t|a|mywpiww0|\n1", "k", int64(1000), int64(5000), "c1")
	f.Add("t|a^|mywpiww0|{\"u\":\"k\",\"f\":[\"c1\"]}\n{}", "", int64(0), int64(-1), "")
	f.Add("t|a^~|0|{\"W\":1e300}\n", "ключ <&>\u2028😀", int64(1), int64(1<<52), "a b")
	f.Add("t|a\n|", "x", int64(0), int64(0), "")
	c := redistest.Client(f, redistest.Embedded(f).Config())
	script := viewScript()
	view := func(t *testing.T, text string) []string {
		t.Helper()
		got, err := script.Run(t.Context(), c, []string{"{x}:tasks"}, text).StringSlice()
		require.NoError(t, err)
		return got
	}
	f.Fuzz(func(t *testing.T, text, unique string, uniqueFor, at int64, after string) {
		r, err := ParseRecord(text)
		got := view(t, text)
		require.Equal(t, []string{r.Line, r.Queue()}, got[:2], "line and queue of %q", text)
		require.Equal(t, strings.SplitN(strings.SplitN(text, "\n", 2)[0], "|", 2)[0], r.Name)
		if err == nil {
			again, err := ParseRecord(r.head() + hexOf(r.Enqueued) + r.tail())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		o := Options{Unique: unique, UniqueFor: uniqueFor, At: at, After: strings.Fields(after), Retention: 1000}
		valid := utf8.ValidString(unique) && !strings.ContainsFunc(unique, unicode.IsControl) && uniqueFor >= 0 && uniqueFor <= 1<<52 &&
			(uniqueFor == 0 || unique != "")
		if !valid || slices.ContainsFunc(o.After, invalidName) || at <= 0 || at > 1<<52 {
			return
		}
		if len(o.After) == 0 {
			o.After = nil
		}
		whole := Record{Name: "t", Line: "q~", Options: o, Payload: json.RawMessage("1\n2")}
		text = whole.head() + "0" + whole.tail()
		back, err := ParseRecord(text)
		require.NoError(t, err)
		whole.Enqueued = time.UnixMilli(0)
		require.Equal(t, whole, back)
		lasting := ""
		if o.UniqueFor > 0 {
			lasting = decimal(o.UniqueFor)
		}
		require.Equal(t, []string{"q~", "q", unique, lasting, strings.Join(o.After, " "), decimal(o.At)}, view(t, text))
	})
}

func invalidName(name string) bool { return !link.ValidName(name) }

// An answer that no script gives is an error, not a panic.
func FuzzRefusal(f *testing.F) {
	for _, word := range []string{"OK", "FENCED", "EXPIRED", "GAP", "WRONGTYPE", "LIVE", ""} {
		f.Add(word, "key", byte(0))
		f.Add(word, "key", byte(3))
	}
	f.Fuzz(func(t *testing.T, word, more string, shape byte) {
		reply := [][]any{{word}, {word, more}, {word, int64(1)}, {word, nil}, {word, []any{more}}, {}, nil, {int64(1), word}, {nil}}[shape%9]
		cmd := redis.NewCmd(t.Context())
		cmd.SetVal(reply)
		_, err := link.ReplyOf(cmd)
		err = refusal(err)
		require.Equal(t, len(reply) > 0 && reply[0] == "OK", err == nil, "%v", reply)
		for word, want := range map[string]error{"FENCED": ErrFenced, "EXPIRED": link.ErrUnavailable, "GAP": ErrRolledBack} {
			if len(reply) > 0 && reply[0] == word {
				require.ErrorIs(t, err, want)
			}
		}
	})
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func hexOf(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 16) }
