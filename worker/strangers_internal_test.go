package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/worker/membership"
)

func TestTheNameOfAProgramIsThatOfItsModule(t *testing.T) {
	for module, want := range map[string]string{
		"": "", "shop": "shop", "example.org/acme/shop": "shop", "example.org/acme/shop/v2": "shop", "example.org/acme/v8js": "v8js",
	} {
		require.Equal(t, want, programOf(module), module)
	}
}

func TestEachProcessIsNamedOnce(t *testing.T) {
	member := func(live bool, program string, pid int) membership.Member {
		return membership.Member{Live: live, Process: membership.Process{Host: "h", PID: pid, Program: program}}
	}
	members := []membership.Member{
		member(true, "shop", 1), member(true, "shop", 1), member(true, "mine", 2), member(true, "", 3), member(false, "gone", 4),
		member(true, "ledger", 5), member(true, "shop", 6),
	}
	other := func(p membership.Process) bool { return p.Program != "mine" }
	require.Equal(t, []string{"ledger: process 5 on h", "process 3 on h", "shop: process 1 on h", "shop: process 6 on h"}, processes(members, other))
}
