package tasks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzValidJSON: a long text is valid JSON where the library says so.
func FuzzValidJSON(f *testing.F) {
	for _, text := range []string{
		`"`, `""`, `"\"`, `"\\"`, `"\u00e`, `"\u00e9"`, `"\u0000"`, "\"\x01\"", "\"\x7f\xff\"", `"a`, `a"b"`, `{"a":"b`, `[1]"`, `"a""b"`, `\"`, `{"k":["v",{}]}`,
	} {
		f.Add(text, 0)
		f.Add(text, 3)
		f.Add(text, 6)
	}
	long := strings.Repeat("a long text ", longText/8)
	f.Fuzz(func(t *testing.T, text string, at int) {
		for _, more := range []string{"", long, `"` + long + `"`, `["` + long + `\n` + long + `",1]`} {
			cut := int(uint(at) % uint(len(text)+1))
			for _, text := range []string{text[:cut] + more + text[cut:], text + more, more + text} {
				require.Equal(t, json.Valid([]byte(text)), validJSON([]byte(text)), "%.100q", text)
			}
		}
	})
}

func BenchmarkValidJSON(b *testing.B) {
	for name, text := range map[string]string{
		"text":     `"` + strings.Repeat("x", 1_000_000) + `"`,
		"document": "[" + strings.Repeat(`{"name":"somebody","mail":"somebody@example.com","age":43},`, 16_000) + "0]",
	} {
		for of, valid := range map[string]func([]byte) bool{"library": json.Valid, "ours": validJSON} {
			b.Run(name+" "+of, func(b *testing.B) {
				text := []byte(text)
				for b.Loop() {
					valid(text)
				}
			})
		}
	}
}
