package tasks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzValidJSON: a text is valid JSON where the library says so.
func FuzzValidJSON(f *testing.F) {
	for _, text := range []string{
		`"`, `""`, `"\"`, `"\\"`, `"\u00e`, `"\u00e9"`, `"\u0000"`, "\"\x01\"", "\"\x7f\xff\"", `"a`, `a"b"`, `{"a":"b`, `[1]"`, `"a""b"`, `\"`, `{"k":["v",{}]}`,
		` { "a" : [ -0.5e+7 , true,false,null , 10, 1E2 ], "b" : { } } `, `[1,]`, `{"a":1,}`, `{"a"}`, `{1:2}`, `[}`, `01`, `-`, `1.`, `1e`, `.5`, `+1`,
		`tru`, `nullx`, `"\ud83d\u12g4"`, `"\x"`, "[\n]", "\v1", "\x00", "1\x00", "[\x00]", `1 2`, ``, ` `,
	} {
		f.Add(text, 0)
		f.Add(text, 3)
		f.Add(text, 6)
	}
	long := strings.Repeat("a long text ", 500)
	f.Fuzz(func(t *testing.T, text string, at int) {
		for _, more := range []string{"", long, `"` + long + `"`, `["` + long + `\n` + long + `",1]`} {
			cut := int(uint(at) % uint(len(text)+1))
			for _, text := range []string{text[:cut] + more + text[cut:], text + more, more + text} {
				require.Equal(t, json.Valid([]byte(text)), validJSON([]byte(text)), "%.100q", text)
			}
		}
	})
}

func TestDeepJSONIsValidAsInTheLibrary(t *testing.T) {
	for _, depth := range []int{maxNesting - 1, maxNesting, maxNesting + 1} {
		for _, text := range []string{strings.Repeat("[", depth) + strings.Repeat("]", depth), strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)} {
			require.Equal(t, json.Valid([]byte(text)), validJSON([]byte(text)), depth)
		}
	}
}

func BenchmarkValidJSON(b *testing.B) {
	for name, text := range map[string]string{
		"text":     `"` + strings.Repeat("x", 1_000_000) + `"`,
		"short":    `{"to":"somebody@example.com","template":"welcome","retries":3,"urgent":false,"tags":["a","b"]}`,
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
