package redisbus

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/stellarfw/stellar/redisbus/link"
)

// tokenBytes is the size of a drawn token: 256 random bits.
const tokenBytes = 32

// Token returns the token that authenticates the cluster's messages: the configured token
// or, if none is configured, a random token that the cluster keeps in Redis. The first
// caller draws that one. A token in Redis does not protect against clients that can read
// the namespace's keys; such clients could enqueue tasks anyway.
//
// Errors are those of [link.Explain]. Token is safe to repeat.
func Token(ctx context.Context, client redis.Cmdable, keys link.Keys, configured link.Secret) (link.Secret, error) {
	if !configured.IsZero() {
		return configured, nil
	}
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // it never fails: crypto/rand ends the process first
	return keepToken(ctx, client, keys, link.NewSecret(base64.RawURLEncoding.EncodeToString(random)))
}

// ErrNoToken is the error of [KeptToken] where Redis has no token: no node has been started in
// the namespace.
var ErrNoToken = errors.New("no node has been started in this namespace on this Redis: it holds no token of a cluster")

// KeptToken returns the token that authenticates the cluster's messages as [Token] does, for a
// program that is no node. It never writes one.
func KeptToken(ctx context.Context, client redis.Cmdable, keys link.Keys, configured link.Secret) (link.Secret, error) {
	if !configured.IsZero() {
		return configured, nil
	}
	return readToken(ctx, client, keys)
}

// keepToken writes the token to Redis unless Redis has a token already, and returns the
// token that Redis then has.
func keepToken(ctx context.Context, client redis.Cmdable, keys link.Keys, token link.Secret) (link.Secret, error) {
	kept, err := readToken(ctx, client, keys)
	if !errors.Is(err, ErrNoToken) {
		return kept, err
	}
	if err := client.SetNX(ctx, keys.Token(), token.Reveal(), 0).Err(); err != nil {
		return kept, fmt.Errorf("the cluster's token: %w", link.Explain(err))
	}
	return readToken(ctx, client, keys)
}

// maxToken is the most bytes of a token that are read: somebody else may have written the key.
const maxToken = 4096

func readToken(ctx context.Context, client redis.Cmdable, keys link.Keys) (none link.Secret, err error) {
	kept, err := client.GetRange(ctx, keys.Token(), 0, maxToken).Result()
	if err == nil && kept == "" { // is the key there?
		kept, err = client.Get(ctx, keys.Token()).Result()
	}
	switch {
	case errors.Is(err, redis.Nil):
		return none, fmt.Errorf("the cluster's token: %w", ErrNoToken)
	case err != nil:
		return none, fmt.Errorf("the cluster's token: %w", link.Explain(err))
	case len(kept) < 16 || len(kept) > maxToken:
		return none, fmt.Errorf("the cluster's token: the key %s holds something else", keys.Token())
	}
	return link.NewSecret(kept), nil
}
