package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheCoreSchema reads settings in all notations of YAML 1.2 and in those of YAML 1.1
// that 1.2 dropped.
func TestTheCoreSchema(t *testing.T) {
	for text, want := range map[string]int{
		"010": 10, "0x10": 16, "0o10": 8, "+5": 5, "!!int 7": 7, "&a 7": 7, "08": 8,
	} {
		s, err := parsed(t, nil, "--config", write(t, "f", "workers: "+text))
		require.NoError(t, err, text)
		require.Equal(t, want, s.Workers, text)
	}
	for _, text := range []string{"1_0", "0b1", "1:30", "1.0", "1e1", "'1'", "!!str 1", "99999999999999999999", "~", "null", "[1]", "{1: 1}", "yes"} {
		_, err := parsed(t, nil, "--config", write(t, "f", "\nworkers: "+text))
		require.ErrorContains(t, err, ":2: workers: a whole number is needed here", text)
	}
	for _, text := range []string{"2027-01-31", "yes", "on", "1_0", "'1'", "!!str 1", "<<", ".5.5"} {
		s, err := parsed(t, nil, "--config", write(t, "f", "title: "+text))
		require.NoError(t, err, text)
		require.Equal(t, strings.Trim(strings.TrimPrefix(text, "!!str "), "'"), s.Title)
	}
	for _, text := range []string{"true", "True", "TRUE"} {
		s, err := parsed(t, nil, "--config", write(t, "f", "silent: "+text))
		require.NoError(t, err)
		require.True(t, s.silent, text)
	}
	for _, text := range []string{"yes", "on", "y", "1", "tRUE", "'true'"} {
		_, err := parsed(t, nil, "--config", write(t, "f", "silent: "+text))
		require.ErrorContains(t, err, ":1: silent: true or false is needed here", text)
	}
	s, err := parsed(t, nil, "--config", write(t, "f", "workers: &n 3\nconcurrency: *n\nqueues: [010, 2027-01-31, a]\n"))
	require.NoError(t, err)
	require.Equal(t, 3, s.concurrency, "an alias")
	require.Equal(t, []string{"010", "2027-01-31", "a"}, s.queues, "to the letter")
}

// TestNumbersAreDecimalEverywhere: the flag library reads 010 as 8.
func TestNumbersAreDecimalEverywhere(t *testing.T) {
	s, err := parsed(t, environment{"STELLAR_WORKERS": "010"}, "--concurrency", "010")
	require.NoError(t, err)
	require.Equal(t, []int{10, 10}, []int{s.Workers, s.concurrency})
}

func TestWhatIsNoYAMLHasItsLine(t *testing.T) {
	for text, line := range map[string]int{
		"workers: [":                        1,
		"a: b: c":                           1,
		"\nworkers: 1\n b: [":               3,
		"\n\t- x":                           2,
		"title: a\nid: \"\x01\"\n":          2,
		"title: a\n\nid: \xff\n":            3,
		"title: a\nid: *b\n":                2,
		"title: !!binary aGk=":              1,
		"title: a\nid: !mine x":             2,
		"\ntitle: !!timestamp 2027-01-31\n": 2,
		"title: !!int x":                    1,
	} {
		_, err := parsed(t, nil, "--config", write(t, "f", text))
		require.ErrorIs(t, err, ErrInvalid, text)
		require.ErrorContains(t, err, fmt.Sprintf("/f:%d: ", line), text)
		require.NotContains(t, err.Error(), "yaml:")
	}
}

// payloadOf reads a file with that payload.
func payloadOf(t *testing.T, yaml string) (string, error) {
	t.Helper()
	s, err := parsed(t, nil, "--config", write(t, "f", "periodic:\n  p:\n    task: x\n    every: 1h\n    payload: "+yaml+"\n"))
	require.NoError(t, err)
	p, err := s.Prepare(t.Context(), newApp)
	if err != nil {
		return "", err
	}
	return string(p.Periodics[0].Payload.(json.RawMessage)), nil
}

func TestAPayloadIsKeptToTheLetter(t *testing.T) {
	for yaml, want := range map[string]string{
		"123456789012345678901": "123456789012345678901", "-0": "-0", "2.50": "2.50", "1e400": "1e400", "1E+2": "1E+2",
		"'01234'": `"01234"`, "2027-01-31": `"2027-01-31"`, "2027-01-31T08:00:00Z": `"2027-01-31T08:00:00Z"`, "1_000": `"1_000"`,
		"yes": `"yes"`, "0b1": `"0b1"`, "1:30": `"1:30"`, "~": "null", "NULL": "null", "": "null", "''": `""`, "TRUE": "true", "False": "false",
		"!!str 5": `"5"`, "!!float 5": "5", "{z: 1, a: [x, {b: ~}], m: &m [1], n: *m}": `{"z":1,"a":["x",{"b":null}],"m":[1],"n":[1]}`,
		"{'1': a, on: b, 2027-01-31: c}": `{"1":"a","on":"b","2027-01-31":"c"}`, "[]": "[]", "{}": "{}", "|\n      a\n      b": `"a\nb\n"`, "{\"<<\": 1}": `{"\u003c\u003c":1}`,
	} {
		got, err := payloadOf(t, yaml)
		require.NoError(t, err, yaml)
		require.Equal(t, want, got, yaml)
	}
}

func TestWhatJSONCannotWriteSoIsAnErrorWithItsLine(t *testing.T) {
	bomb := "\n      a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'h'; c++ {
		bomb += fmt.Sprintf("      %c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	for yaml, says := range map[string]string{
		"01234": "JSON has no number 01234", "{a: -007}": "no number -007", "0x1F": "no number 0x1F", "+5": "no number +5", ".5": "no number .5",
		"5.": "no number 5.", ".inf": "no number .inf", "[.nan]": "no number .nan",
		"{1: a}": `the key "1" is no text`, "{~: a}": `the key "~" is no text`, "{true: a}": `the key "true" is no text`, "{[a]: b}": "is no text",
		"{a: 1, a: 2}": `the key "a" is there twice`, "{<<: {a: 1}}": "YAML 1.2 merges no mappings",
		"&a [*a]": "deeper than 100 levels", bomb: "larger than 1048576 bytes",
	} {
		_, err := payloadOf(t, yaml)
		require.ErrorIs(t, err, ErrInvalid, yaml)
		require.Regexp(t, `/f:[56]: periodic\.p\.payload: a value that JSON can hold is needed here: .*`+regexp.QuoteMeta(says), err.Error())
	}
	_, err := payloadOf(t, "\n      a: 1\n      b: 01")
	require.ErrorContains(t, err, "/f:7: ", "the line of the value itself")
}
