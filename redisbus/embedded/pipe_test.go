package embedded_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestPipelineLongerThanAllBuffersIsAnswered(t *testing.T) {
	c := redistest.Client(t, redistest.Embedded(t).Config())
	cmds, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for range 500 {
			p.Echo(t.Context(), strings.Repeat("x", 1000))
		}
		return nil
	})
	require.NoError(t, err)
	for _, cmd := range cmds {
		require.Len(t, cmd.(*redis.StringCmd).Val(), 1000)
	}
}
