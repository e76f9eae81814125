package ownredis

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ofOldest are options that the redis.conf of version 6.2 has. A server that does not know an option
// does not start.
var ofOldest = strings.Fields("port unixsocket unixsocketperm protected-mode dir daemonize supervised logfile loglevel " +
	"appendonly appendfilename appendfsync no-appendfsync-on-rewrite aof-load-truncated aof-use-rdb-preamble save dbfilename rdbchecksum " +
	"stop-writes-on-bgsave-error maxmemory maxmemory-policy timeout always-show-logo rename-command")

func TestTheServerIsStartedWithOptionsOfTheOldestVersionOnly(t *testing.T) {
	t.Parallel()
	for _, word := range options(place{dir: "/d", sockets: "/d"}, Always) {
		if option, is := strings.CutPrefix(word, "--"); is {
			require.True(t, slices.Contains(ofOldest, option), option)
		}
	}
}
