package otlp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestFailuresAreLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &seldom{log: zerolog.New(&log)}
		s.over()
		require.Empty(t, log.String())
		for range 21 { // in 20 minutes
			s.note(512, errors.New("connection refused"))
			time.Sleep(time.Minute)
		}
		require.Equal(t, 3, strings.Count(log.String(), "connection refused"))
		require.Contains(t, log.String(), `"spans":5120`)
		s.over()
		s.over()
		require.Equal(t, 1, strings.Count(log.String(), "traces are exported again"))
	})
}
