package cli

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Every option of the Go API is a flag of "enqueue", named after it but for these.
func TestEveryOptionOfATaskIsAFlag(t *testing.T) {
	t.Parallel()
	renamed := map[string]string{"Timeout": "run-timeout", "WantResult": "result"}
	flagOf := func(field string) string {
		if name := renamed[field]; name != "" {
			return "--" + name
		}
		return "--" + strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(field, "$1-$2"))
	}
	idle(t, func(c console) {
		stored := func(args ...string) string {
			var r tasks.Receipt
			c.read(&r, append([]string{"enqueue", "mail", "--any-name"}, args...)...)
			require.False(c, r.Duplicate)
			record := redistest.Client(c, c.at.cfg).HGet(c.Context(), c.at.cfg.Keys().Tasks(), r.ID).Val()
			return regexp.MustCompile(`^(mail\|[^|]*\|)[^|]*`).ReplaceAllString(record, "$1") // without the time of the enqueue
		}
		plain := stored()
		require.Equal(c, plain, stored())
		for _, field := range reflect.VisibleFields(reflect.TypeFor[tasks.Options]()) {
			if !field.IsExported() || field.Name == "Await" || field.Name == "AnyName" {
				continue // --wait and --any-name change nothing of what is stored
			}
			args, without := []string{flagOf(field.Name)}, plain
			switch reflect.Zero(field.Type).Interface().(type) {
			case time.Duration:
				args = append(args, "1h")
			case time.Time:
				args = append(args, "2099-01-31T08:00:00Z")
			case tasks.Priority:
				args = append(args, "high")
			case int:
				args = append(args, "7")
			case map[string]string:
				args = append(args, "x=y")
			case bool:
			default:
				args = append(args, "x")
			}
			if field.Name == "UniqueFor" {
				without = strings.Replace(stored("--unique", "a"), `"u":"a"`, `"u":"b"`, 1)
				args = append(args, "--unique", "b")
			}
			require.NotEqual(c, without, stored(args...), field.Name)
		}
	})
}
