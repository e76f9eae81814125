package redisbus

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

// served returns Broadcasts of two buses, and what makes a bus share them.
func served() (*Broadcasts, func(*BusConfig)) {
	shared := NewBroadcasts()
	shared.buses.Store(2)
	return shared, func(c *BusConfig) { c.Broadcasts = shared }
}

func (b *Broadcasts) count() int {
	n := 0
	for i := range b.kept {
		if b.kept[i].Load() != nil {
			n++
		}
	}
	return n
}

func TestBusesOfAProcessDecodeABroadcastOnce(t *testing.T) {
	shared, share := served()
	first, second := unserved(t, share), unserved(t, share)
	data := sign(first, channel, `{"a":1}`, stamp{seq: 7, meta: []byte(`{"tenant":"t1"}`)})
	m, reason := first.verify(channel, data)
	require.Empty(t, reason)
	require.Equal(t, 1, shared.count())
	again, reason := second.verify(channel, slices.Clone(data))
	require.Empty(t, reason)
	require.Equal(t, m, again)
	require.Same(t, &m.Body[0], &again.Body[0], "one body for all")

	shared.buses.Store(1)
	_, known := shared.find(second.prover.Load(), channel, data)
	require.False(t, known, "one bus alone keeps nothing")
}

func TestAKeptBroadcastProvesNothingElse(t *testing.T) {
	shared, share := served()
	b, other := unserved(t, share), unserved(t, share)
	data := sign(b, channel, `{"a":1}`, stamp{})
	_, reason := b.verify(channel, data)
	require.Empty(t, reason)
	for i := range data { // also those with the proof of a message that is kept
		bad := slices.Clone(data)
		bad[i] ^= 1
		_, reason := other.verify(channel, bad)
		require.Equal(t, DropProof, reason, "byte %d", i)
	}
	_, reason = other.verify("stellar:inbox:a", data)
	require.Equal(t, DropProof, reason, "it is good on its own channel only")
	_, reason = unserved(t, share, tokens(oldToken, link.Secret{})).verify(channel, data)
	require.Equal(t, DropProof, reason, "another token")
	_, reason = unserved(t, share, tokens(oldToken, newToken)).verify(channel, data)
	require.Empty(t, reason)
	_, reason = unserved(t, share, mode(link.ModePlain)).verify(channel, data)
	require.NotEmpty(t, reason, "another mode")
	require.Equal(t, 1, shared.count())
}

func TestABusWithANewTokenAcceptsNoKeptBroadcastOfTheOld(t *testing.T) {
	_, share := served()
	b := unserved(t, share, tokens(oldToken, link.Secret{}))
	data := sign(b, channel, `1`, stamp{})
	_, reason := b.verify(channel, data)
	require.Empty(t, reason)
	require.NoError(t, b.changeToken(newToken))
	_, reason = b.verify(channel, data)
	require.Empty(t, reason, "for a while")
	alone, err := newProver(link.ModeHMAC, newToken)
	require.NoError(t, err)
	b.prover.Store(alone)
	_, reason = b.verify(channel, data)
	require.Equal(t, DropProof, reason)
}

func TestOnlyProvenBroadcastsOfUsualSizeAreKept(t *testing.T) {
	shared, share := served()
	b := unserved(t, share, mode(link.ModeBoth))
	for name, data := range map[string][]byte{
		"large":  sign(b, channel, `"`+strings.Repeat("x", maxKept)+`"`, stamp{}),
		"plain":  sign(unserved(t, mode(link.ModePlain)), channel, `1`, stamp{}),
		"forged": sign(unserved(t, tokens(oldToken, link.Secret{})), channel, `1`, stamp{}),
	} {
		_, reason := b.verify(channel, data)
		require.Equal(t, name == "forged", reason != "", name)
	}
	_, _ = b.verify("stellar:inbox:a", sign(b, "stellar:inbox:a", `1`, stamp{}))
	require.Zero(t, shared.count())
}
