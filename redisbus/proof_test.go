package redisbus

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

const channel = "stellar"

var (
	oldToken = link.NewSecret("an old token of the cluster")
	newToken = link.NewSecret(`a "new" token <&> of the cluster`)
)

// unserved returns a bus that is only asked to make and to verify messages.
func unserved(t testing.TB, change ...func(*BusConfig)) *Bus {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	cfg := BusConfig{
		Publisher: client, Subscriber: client, Keys: link.NewKeys(link.DefaultNamespace), Token: newToken,
		Identity: Identity{ID: "a", Incarnation: "a#1:x"}, Log: zerolog.Nop(),
	}
	for _, f := range change {
		f(&cfg)
	}
	b, err := NewBus(cfg)
	require.NoError(t, err)
	return b
}

func sign(b *Bus, channel, body string, s stamp) []byte {
	if s.at.IsZero() {
		s.at = b.Now()
	}
	if s.seq == 0 {
		s.seq = 1
	}
	return b.prover.Load().sign(b.header.appendUnsigned(nil, channel, "type", []byte(body), s))[len(channel)+1:]
}

func mode(m link.Mode) func(*BusConfig) { return func(c *BusConfig) { c.Mode = m } }
func tokens(t, also link.Secret) func(c *BusConfig) {
	return func(c *BusConfig) { c.Token, c.AlsoAccept = t, also }
}

func TestNoByteOfAMessageCanBeChanged(t *testing.T) {
	b := unserved(t)
	good := sign(b, channel, `{"a":[1,"x"]}`, stamp{meta: []byte(`{"tenant":"t1"}`)})
	m, reason := b.verify(channel, good)
	require.Empty(t, reason)
	require.Equal(t, map[string]string{"tenant": "t1"}, m.Meta)
	require.JSONEq(t, `{"a":[1,"x"]}`, string(m.Body))
	for i := range good {
		for _, flip := range []byte{1, 0x20, 0x80} {
			bad := append([]byte(nil), good...)
			bad[i] ^= flip
			_, reason := b.verify(channel, bad)
			require.Equal(t, DropProof, reason, "byte %d", i)
		}
		_, reason = b.verify(channel, good[:i])
		require.Equal(t, DropProof, reason)
	}
}

func TestAMessageIsGoodOnItsOwnChannelOnly(t *testing.T) {
	b := unserved(t)
	for _, at := range []string{channel, "stellar:inbox:a", "stellar:inbox:b", "other"} {
		good := sign(b, at, `1`, stamp{})
		for _, heard := range []string{channel, "stellar:inbox:a", "stellar:inbox:b", "other"} {
			_, reason := b.verify(heard, good)
			require.Equal(t, at == heard, reason == "", "%s on %s", at, heard)
		}
	}
}

func TestKeyRotationHasASilentMomentNowhere(t *testing.T) {
	steps := [][2]link.Secret{{oldToken}, {oldToken, newToken}, {newToken, oldToken}, {newToken}}
	for i, step := range steps {
		sender := unserved(t, tokens(step[0], step[1]))
		for j := max(i-1, 0); j <= min(i+1, len(steps)-1); j++ {
			receiver := unserved(t, tokens(steps[j][0], steps[j][1]))
			_, reason := receiver.verify(channel, sign(sender, channel, `1`, stamp{}))
			require.Empty(t, reason, "from step %d to step %d", i, j)
		}
	}
	_, reason := unserved(t, tokens(newToken, link.Secret{})).verify(channel, sign(unserved(t, tokens(oldToken, link.Secret{})), channel, `1`, stamp{}))
	require.Equal(t, DropProof, reason)
}

func TestModesUnderstandTheirNeighbours(t *testing.T) {
	understands := map[link.Mode]map[link.Mode]bool{
		link.ModeHMAC:  {link.ModeHMAC: true, link.ModeBoth: true},
		link.ModeBoth:  {link.ModeHMAC: true, link.ModeBoth: true, link.ModePlain: true},
		link.ModePlain: {link.ModeBoth: true, link.ModePlain: true},
	}
	for receives, from := range understands {
		for _, sends := range []link.Mode{link.ModeHMAC, link.ModeBoth, link.ModePlain} {
			data := sign(unserved(t, mode(sends)), channel, `{"x":1}`, stamp{meta: []byte(`{"tenant":"t1"}`)})
			m, reason := unserved(t, mode(receives)).verify(channel, data)
			require.Equal(t, from[sends], reason == "", "%s to %s", sends, receives)
			if from[sends] {
				require.Equal(t, `{"x":1}`, string(m.Body))
				require.Equal(t, map[string]string{"tenant": "t1"}, m.Meta)
				require.Equal(t, "a#1:x", m.Incarnation)
			}
			inTheOpen := strings.Contains(string(data), `a \"new\" token`)
			require.Equal(t, sends != link.ModeHMAC, inTheOpen, "the token on the wire in mode %s", sends)
			other := unserved(t, mode(receives), tokens(oldToken, link.Secret{}))
			_, reason = other.verify(channel, data)
			require.Equal(t, DropProof, reason, "another cluster")
		}
	}
}

func TestForeignMessagesInPlainMode(t *testing.T) {
	b := unserved(t, mode(link.ModePlain), tokens(link.NewSecret("change-me-please"), link.Secret{}))
	data := `{"messageType":"do","serverId":"host","serverToken":"change-me-please","messageId":"7","method":"api.log"}`
	m, reason := b.verify(channel, []byte(data))
	require.Empty(t, reason)
	require.Equal(t, "do", m.Type)
	require.Equal(t, "host", m.ServerID)
	require.Equal(t, data, string(m.Body))
	require.Zero(t, m.Seq)
	for _, bad := range []string{
		`{"messageType":"do","serverToken":"wrong"}`, `{"messageType":"do"}`, `{"messageType":"do","serverToken":7}`, `null`, `7`, `[]`, `"x"`, ``,
		`{"messageType":"do","serverToken":"wrong","serverToken":"change-me-please"}`,
		`{"messageType":"do","serverToken":"wrong","ServerToken":"change-me-please"}`,
		`{"serverToken":"change-me-please"}`, `{"messageType":{},"serverToken":"change-me-please"}`,
		`{"messageType":"do","incarnation":"a#1:x","serverToken":"change-me-please"}`,
	} {
		_, reason := b.verify(channel, []byte(bad))
		require.NotEmpty(t, reason, bad)
	}
}

func TestEveryReasonToDrop(t *testing.T) {
	b := unserved(t)
	raw := func(text string) []byte { // signed whatever it is
		return b.prover.Load().sign(append([]byte(channel+"\x00"), text...))[len(channel)+1:]
	}
	head := `{"messageType":"x","serverId":"a","incarnation":"a#1:x","seq":1,"sentAt":` + now(b)
	for name, c := range map[string]struct {
		data []byte
		want Drop
	}{
		"fine":                  {raw(head), ""},
		"unsigned":              {[]byte(head + `}`), DropProof},
		"not JSON":              {raw(`{"a":`), DropSyntax},
		"nested too deeply":     {raw(head + `,"body":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), DropDepth},
		"twins":                 {raw(head + `,"seq":2`), DropTwins},
		"twins in the body":     {raw(head + `,"body":{"a":1,"a":2}`), DropTwins},
		"no type":               {raw(strings.Replace(head, "messageType", "messageTipe", 1)), DropMalformed},
		"no number":             {raw(strings.Replace(head, `"seq":1`, `"seq":0`, 1)), DropMalformed},
		"no time":               {raw(strings.Replace(head, `"sentAt"`, `"sendAt"`, 1)), DropMalformed},
		"another's incarnation": {raw(strings.Replace(head, `a#1:x`, `b#1:x`, 1)), DropMalformed},
		"no incarnation":        {raw(strings.Replace(head, `"a#1:x"`, `""`, 1)), DropMalformed},
		"meta":                  {raw(head + `,"meta":{"a":"1","b.c_d-e":"\u00e9"}`), ""},
		"a member of tomorrow":  {raw(head + `,"mood":{"a":1}`), ""},
		"meta with a number":    {raw(head + `,"meta":{"a":1}`), DropMalformed},
		"meta of another kind":  {raw(head + `,"meta":["a"]`), DropMalformed},
		"meta with a bad key":   {raw(head + `,"meta":{"A":"1"}`), DropMalformed},
		"meta with an escape":   {raw(head + `,"meta":{"\u0061":"1"}`), DropMalformed},
		"meta of too much":      {raw(head + `,"meta":{"a":"` + strings.Repeat("x", link.MaxMetaBytes) + `"}`), DropMalformed},
		"meta with twins":       {raw(head + `,"meta":{"a":"1","a":"2"}`), DropTwins},
		"a name to log":         {raw(strings.ReplaceAll(head, `"a`, `"a\n`)), DropMalformed},
		"long ago":              {sign(b, channel, `1`, stamp{at: b.Now().Add(-window - time.Second)}), DropStale},
		"in the future":         {sign(b, channel, `1`, stamp{at: b.Now().Add(window + time.Second)}), DropStale},
	} {
		_, reason := b.verify(channel, c.data)
		require.Equal(t, c.want, reason, name)
	}
}

func now(b *Bus) string {
	text := string(sign(b, channel, `1`, stamp{}))
	_, rest, _ := strings.Cut(text, `"sentAt":`)
	return rest[:13]
}

func TestNewBusRefuses(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	good := BusConfig{Publisher: client, Subscriber: client, Token: newToken, Identity: Identity{ID: "a"}}
	_, err := NewBus(good)
	require.NoError(t, err)
	for _, spoil := range []func(*BusConfig){
		func(c *BusConfig) { c.Publisher = nil },
		func(c *BusConfig) { c.Subscriber = nil },
		func(c *BusConfig) { c.PublishMiddleware = []PublishMiddleware{nil} },
		func(c *BusConfig) { c.SubscriptionMiddleware = []SubscriptionMiddleware{nil} },
		func(c *BusConfig) { c.Token = link.Secret{} },
		func(c *BusConfig) { c.Mode = "rot13" },
		func(c *BusConfig) { c.Identity.ID = "a b" },
		func(c *BusConfig) { c.Identity.Incarnation = "b#1:x" },
		func(c *BusConfig) { c.Identity.Incarnation = "a#" },
		func(c *BusConfig) { c.Identity.Incarnation = "a#1#2" },
	} {
		bad := good
		spoil(&bad)
		_, err := NewBus(bad)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "new")
	}
}

// Nothing that was not signed is delivered, and nothing ends the reader.
func FuzzVerify(f *testing.F) {
	signed, plain := unserved(f), unserved(f, mode(link.ModeBoth))
	f.Add([]byte(nil))
	f.Add(sign(signed, channel, `{"a":1}`, stamp{}))
	f.Add(sign(plain, channel, `{"a":1}`, stamp{}))
	f.Add([]byte(`{"messageType":"do","serverToken":"x"}`))
	f.Add(sign(signed, channel, `1`, stamp{meta: []byte(`{"tenant":"t\"1","b.c_d-e":""}`)}))
	f.Add([]byte(`{"messageType":"x","serverId":"a","incarnation":"a#1:x","seq":1,"sentAt":` + now(signed) + `,"meta":{"a":"1"},"body":1`))
	f.Add([]byte(`null`))
	forged := unserved(f, tokens(oldToken, link.Secret{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, reason := forged.verify(channel, data)
		require.NotEmpty(t, reason)
		// What is signed is delivered as it was, or dropped for a reason of its own.
		sealed := signed.prover.Load().sign(append([]byte(channel+"\x00"), data...))[len(channel)+1:]
		if m, reason := signed.verify(channel, sealed); reason == "" {
			require.NotEmpty(t, m.Incarnation)
			require.NoError(t, link.ValidMeta(m.Meta))
			again, ok := wire.Texts(wire.AppendTexts(nil, m.Meta))
			require.True(t, ok)
			require.Len(t, again, len(m.Meta))
		} else {
			require.NotEqual(t, DropProof, reason)
		}
		_, _ = plain.verify(channel, data)
	})
}
