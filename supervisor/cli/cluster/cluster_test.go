package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestADirectoryOfSomebodyElseIsRefused(t *testing.T) {
	dir := "/" // of root
	if os.Getuid() == 0 {
		dir = filepath.Join(t.TempDir(), "stellar")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chown(dir, 12345, 12345))
	}
	err := checkPrivate(dir)
	require.ErrorContains(t, err, "belongs to another user")
	require.ErrorIs(t, err, config.ErrInvalid)
}

func TestDialingAgainAfterNobodyCouldSubscribeOnVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := redistest.Embedded(t)
		var open atomic.Bool
		cfg := link.Config{Token: link.NewSecret("the token of a test"), Dial: func(ctx context.Context) (net.Conn, error) {
			if !open.Load() {
				return nil, link.DialError(context.DeadlineExceeded)
			}
			return server.Dial(ctx)
		}}
		c, err := Open(t.Context(), worker.ClientConfig{Redis: cfg}, "here")
		require.NoError(t, err)
		_, err = c.Dial(t.Context())
		require.ErrorIs(t, err, link.ErrUnavailable)
		require.ErrorContains(t, err, "lets nobody subscribe")
		open.Store(true)
		_, err = c.Dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		time.Sleep(5 * time.Second) // the client library's dialler outlives its client by a second
	})
}

func TestWhatComesFromOthersCannotSteerATerminal(t *testing.T) {
	require.Equal(t, `a\u001b[31m\u009b\u202eé\nb\tc\u000d`, Printable("a\x1b[31m\u009b\u202eé\nb\tc\r"))
	require.Equal(t, `\udb40\udc01`, Printable("\U000e0001"))
	const text = "{\n\t\"a\": \"\u009b\U000e0001\x7f\"\n}"
	require.Equal(t, "{\n\t\"a\": \"\\u009b\\udb40\\udc01\\u007f\"\n}", printableJSON(text)) //nolint:testifylint // byte for byte
	require.JSONEq(t, text, printableJSON(text), "it keeps its value")
}

func TestOnlyJoinedErrorsHaveLines(t *testing.T) {
	a, b := errors.New("a\nstellar: forged"), errors.New("b")
	joined := errors.Join(a, config.As(config.ErrUsage, errors.Join(b, fmt.Errorf("c: %w", a))))
	want := []string{`a\nstellar: forged`, "b", `c: a\nstellar: forged`}
	require.Equal(t, want, PrintableError(joined))
	require.Equal(t, want, PrintableError(config.Invalidf("%w", joined)))
	require.Equal(t, []string{`x: b\nb`}, PrintableError(fmt.Errorf("x: %w", errors.Join(b, b))))
	require.Equal(t, []string{`x b b`}, PrintableError(fmt.Errorf("x %w %w", b, b)))
	var out, err strings.Builder
	e := &Env{Settings: config.New(nil), Program: "stellar", Stdout: &out, Stderr: &err}
	e.WriteError(joined, 1)
	e.Notef("%s", "x\nstellar: forged")
	require.NoError(t, e.WriteLine("y\nforged", "z"))
	require.NoError(t, e.WriteTable([][]string{{"A\nforged", "B\tC"}}))
	require.Equal(t, "stellar: "+strings.Join(want, "\n")+"\n"+`stellar: x\nstellar: forged`+"\n", err.String())
	require.Equal(t, `y\nforged`+"\nz\n"+`A\nforged  B\tC`+"\n", out.String())
}

// The log on a terminal is as tame as the rest.
func TestTheLogOnATerminalIsTame(t *testing.T) {
	const hostile = "\nFAKE\x1b[2J\u009b1m\r\u202e"
	for _, console := range []bool{true, false} {
		var out bytes.Buffer
		var w io.Writer = jsonWriter{&out}
		if console {
			w = zerolog.ConsoleWriter{Out: &out, NoColor: true, FormatPrepare: printableEvent}
		}
		log := zerolog.New(w)
		log.Warn().Str("text", hostile).Err(errors.New(hostile)).Strs("list", []string{hostile}).
			Interface("object", map[string]any{hostile: []any{hostile}}).Bytes("bytes", []byte(hostile)).Stringer("s", stringer(hostile)).Msg(hostile)
		require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
		require.Equal(t, 8, strings.Count(out.String(), "FAKE"), out.String())
		for _, r := range out.String() {
			require.True(t, r == '\n' || unicode.IsPrint(r), "%q", out.String())
		}
	}
}

type stringer string

func (s stringer) String() string { return string(s) }

// Lines of an export reach the terminal whole and tame, however they are cut.
func TestLinesOfAnExportAreWrittenWhole(t *testing.T) {
	var out strings.Builder
	w := &lineWriter{to: jsonWriter{&out}}
	for b := range []byte("{\"a\":\"\u009b\"}\n{\"b\":1}\n") {
		_, err := w.Write([]byte("{\"a\":\"\u009b\"}\n{\"b\":1}\n")[b : b+1])
		require.NoError(t, err)
	}
	require.Equal(t, `{"a":"\u009b"}`+"\n"+`{"b":1}`+"\n", out.String()) //nolint:testifylint // byte for byte
}
