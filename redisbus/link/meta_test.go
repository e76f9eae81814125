package link_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestMetaIsBoundedInNumberBytesAndLetters(t *testing.T) {
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[strconv.Itoa(i)] = ""
		}
		return m
	}
	for _, good := range []map[string]string{
		nil, {}, {"tenant_id.2-b": "Ünï\n\x00"}, {"a": ""}, many(16), {"k": strings.Repeat("x", 1023)},
	} {
		require.NoError(t, link.ValidMeta(good), "%v", good)
	}
	for _, bad := range []struct {
		meta map[string]string
		want string
	}{
		{many(17), "17 entries"},
		{map[string]string{"": "x"}, `key ""`},
		{map[string]string{"Tenant": "x"}, `key "Tenant"`},
		{map[string]string{"a b": "x"}, `key "a b"`},
		{map[string]string{"a:b": "x"}, `key "a:b"`},
		{map[string]string{"é": "x"}, `key "é"`},
		{map[string]string{"a": "\xff"}, `value of "a"`},
		{map[string]string{"k": strings.Repeat("x", 1024)}, "1025 bytes"},
		{map[string]string{strings.Repeat("k", 600): "", "v": strings.Repeat("x", 424)}, "1025 bytes"},
	} {
		err := link.ValidMeta(bad.meta)
		require.ErrorIs(t, err, link.ErrMeta)
		require.ErrorContains(t, err, bad.want)
	}
}
