package redisbus

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// A proof is the last member of a message and has a fixed length, so that it is
// found and verified without decoding anything. The member is serverProof where
// serverToken carries the token itself ([link.ModeBoth]).
const (
	tokenTail = `,"serverToken":"`
	proofTail = `,"serverProof":"`
	closing   = `"}`
)

var (
	proofLength = base64.RawURLEncoding.EncodedLen(sha256.Size)
	tailLength  = len(tokenTail) + proofLength + len(closing)
)

// key is one token and its keyed hash, with buffers for results: to allocate them
// for every message would cost more than the hashing.
type key struct {
	token []byte

	mu   sync.Mutex
	hash hash.Hash
	sum  [sha256.Size]byte
	text [128]byte // long enough for the usual channel and for a proof
}

func newKey(token link.Secret) *key {
	bytes := []byte(token.Reveal())
	return &key{token: bytes, hash: hmac.New(sha256.New, bytes)}
}

// appendProof appends the proof of text, which is a channel, a zero byte and an unsigned
// message.
func (k *key) appendProof(to, text []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hash.Reset()
	_, _ = k.hash.Write(text) // a hash never fails
	return base64.RawURLEncoding.AppendEncode(to, k.hash.Sum(k.sum[:0]))
}

// matches reports whether claimed is the proof of the covered bytes on that channel.
func (k *key) matches(claimed []byte, channel string, covered []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hash.Reset()
	_, _ = k.hash.Write(append(append(k.text[:0], channel...), 0))
	_, _ = k.hash.Write(covered)
	proof := k.text[:proofLength]
	base64.RawURLEncoding.Encode(proof, k.hash.Sum(k.sum[:0]))
	return subtle.ConstantTimeCompare(proof, claimed) == 1
}

// prover signs under one key and accepts it and possibly another one.
type prover struct {
	mode    link.Mode
	signKey *key
	accept  []*key
	// plain is the member that carries the token unencrypted.
	plain []byte
}

func newProver(mode link.Mode, token link.Secret, also ...link.Secret) (*prover, error) {
	if mode == "" {
		mode = link.ModeHMAC
	}
	if mode != link.ModeHMAC && mode != link.ModePlain && mode != link.ModeBoth {
		return nil, fmt.Errorf("mode %q: use hmac, plain or both", string(mode))
	}
	if token.IsZero() {
		return nil, errors.New("the cluster's token is missing")
	}
	// Signing has a hash of its own, so that sending and receiving never wait for
	// each other.
	p := &prover{mode: mode, signKey: newKey(token), accept: []*key{newKey(token)}}
	for _, other := range also {
		if !other.IsZero() && !other.Equal(token) {
			p.accept = append(p.accept, newKey(other))
		}
	}
	p.plain = wire.AppendText([]byte(`,"serverToken":`), token.Reveal())
	return p, nil
}

// sign completes text, which is a channel, a zero byte and an unsigned message.
func (p *prover) sign(text []byte) []byte {
	tail := tokenTail
	if p.mode != link.ModeHMAC {
		text = append(text, p.plain...)
		tail = proofTail
	}
	if p.mode == link.ModePlain {
		return append(text, '}')
	}
	covered := text
	text = append(text, tail...)
	text = p.signKey.appendProof(text, covered)
	return append(text, closing...)
}

// provenBy returns the key under which the message ends in a valid proof for that channel, or
// nil.
func (p *prover) provenBy(channel string, data []byte) *key {
	if p.mode == link.ModePlain || len(data) < tailLength {
		return nil
	}
	covered, tail := data[:len(data)-tailLength], data[len(data)-tailLength:]
	if t := string(tail[:len(tokenTail)]); t != tokenTail && t != proofTail || string(tail[len(tail)-len(closing):]) != closing {
		return nil
	}
	claimed := tail[len(tokenTail) : len(tail)-len(closing)]
	for _, k := range p.accept {
		if k.matches(claimed, channel, covered) {
			return k
		}
	}
	return nil
}

// accepts reports whether a proof under that key, which may be another bus's, is accepted.
func (p *prover) accepts(by *key) bool {
	return slices.ContainsFunc(p.accept, func(k *key) bool { return k == by || bytes.Equal(k.token, by.token) })
}

// trusts reports whether a message that cannot be read as one comes from somebody who knows
// the token.
func (p *prover) trusts(channel string, data []byte) bool {
	if p.provenBy(channel, data) != nil {
		return true
	}
	var members map[string]json.RawMessage // of its exact name, unlike a struct's
	if p.mode == link.ModeHMAC || json.Unmarshal(data, &members) != nil {
		return false
	}
	return p.hasPlainToken(members["serverToken"])
}

// hasPlainToken reports whether the message's serverToken is the token itself. Every
// accepted token is compared, so that the time taken tells nothing.
func (p *prover) hasPlainToken(token []byte) bool {
	text, ok := wire.Text(token)
	if p.mode == link.ModeHMAC || !ok {
		return false
	}
	same := 0
	for _, k := range p.accept {
		same |= subtle.ConstantTimeCompare([]byte(text), k.token)
	}
	return same == 1
}
