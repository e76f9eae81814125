package link_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/link"
)

func TestWeakSecrets(t *testing.T) {
	for text, says := range map[string]string{
		"x":                             "1 byte is too few",
		"0123456789abcde":               "15 bytes are too few",
		"change-me":                     "everybody's",
		"change-me-change-me":           "everybody's",
		"Please, Change Me! 0123456789": "everybody's",
		strings.Repeat(" ", 16):         "1 different character",
		strings.Repeat("a", 1000):       "1 different character",
		"abcdabcdabcdabcd":              "4 different characters",
		"passwordpassword":              "repeats itself",
		"abcdefgabcdefgabc":             "repeats itself",
	} {
		secret := link.NewSecret(text)
		err := secret.Validate()
		require.ErrorIs(t, err, link.ErrWeakSecret, says)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), secret.Reveal()+":")
		for _, c := range []link.Config{{Token: secret}, {AlsoAccept: secret}, {Token: secret, TokenMode: link.ModeHMAC}} {
			c.URL = "redis://h"
			require.ErrorIs(t, c.Validate(), link.ErrWeakSecret)
		}
		for _, mode := range []link.Mode{link.ModePlain, link.ModeBoth} {
			c := link.Config{URL: "redis://h", Token: secret, TokenMode: mode}
			require.NoError(t, c.Validate(), "the token of other implementations is taken as it is")
			require.ErrorIs(t, c.WeakTokens(), link.ErrWeakSecret, "with a warning")
		}
	}
	require.NoError(t, link.Secret{}.Validate())
}

func TestRandomSecretsAreStrong(t *testing.T) {
	for range 1000 {
		b := make([]byte, 16)
		_, _ = rand.Read(b)
		for _, text := range []string{string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b), rand.Text()} {
			require.NoError(t, link.NewSecret(text).Validate(), "%q", text)
		}
	}
}
