package link_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func channels(k link.Keys) []string {
	return []string{k.Channel(), k.Inbox("n"), k.Beacon(), k.Wake("n#1:a"), k.Ended("t"), k.Due(), k.Look()}
}

func TestDatabase0KeepsItsNamesAndOthersHaveTheirOwn(t *testing.T) {
	at := func(path string, mode link.Mode) link.Keys {
		c := link.Config{URL: "redis://h:1" + path, Namespace: "shop", TokenMode: mode}
		require.NoError(t, c.Validate())
		return c.Keys()
	}
	require.Equal(t, link.NewKeys("shop"), at("", ""))
	require.Equal(t, link.NewKeys("shop"), at("/0", link.ModeHMAC))
	require.Equal(t, []string{
		"shop", "shop:inbox:n", "shop:beacon", "shop:wake:n#1:a", "shop:ended:t", "shop:due", "shop:look",
	}, channels(at("/0", "")))
	require.Equal(t, []string{
		"shop:db5", "shop:db5:inbox:n", "shop:db5:beacon", "shop:db5:wake:n#1:a", "shop:db5:ended:t", "shop:db5:due", "shop:db5:look",
	}, channels(at("/5", "")))
	require.Equal(t, at("", "").Tasks(), at("/5", "").Tasks(), "keys are separated by Redis")
	for _, mode := range []link.Mode{link.ModePlain, link.ModeBoth} {
		require.Equal(t, "shop", at("/5", mode).Channel(), "where other implementations listen")
		require.Equal(t, "shop:db5:due", at("/5", mode).Due())
	}
}

func TestANamespaceHasNoColon(t *testing.T) {
	err := link.Config{URL: "redis://h:1", Namespace: "shop:inbox:stellar-worker-1"}.Validate()
	require.ErrorContains(t, err, `namespace "shop:inbox:stellar-worker-1"`)
	require.ErrorContains(t, err, `use "shop-inbox-stellar-worker-1"`)
	require.NoError(t, link.Config{URL: "redis://h:1", Namespace: "shop.eu_1-a"}.Validate())
}
