// Package supervisortest starts node sets in tests, on an embedded Redis of the test's own
// that opens no port. A set ends with its test.
//
//	app := worker.NewApp()
//	…
//	set := supervisortest.Start(t, app)
//	_, err := set.Node("stellar-worker-1").API().Tasks.Enqueue(t.Context(), "email.welcome", in)
package supervisortest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
)

// Set is a running set of a test.
type Set struct {
	*supervisor.Set
	t    testing.TB
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
	told atomic.Bool // the test knows err
}

// Start starts a set of three nodes on an embedded Redis and waits until all nodes run. The
// set drains and stops at the end of the test, which fails if a handler has not returned
// then. Start works inside a testing/synctest bubble.
func Start(t testing.TB, app *worker.App) *Set {
	t.Helper()
	return StartWith(t, app, supervisor.Config{Workers: 3})
}

// StartWith is [Start] with a configuration. If cfg.Redis is empty, the set gets an embedded
// Redis. The nodes log to the test's log.
func StartWith(t testing.TB, app *worker.App, cfg supervisor.Config) *Set {
	t.Helper()
	if cfg.Redis.URL == "" && cfg.Redis.Dial == nil {
		server := embedded.New()
		t.Cleanup(func() { _ = server.Close() })
		cfg.Redis.Dial = server.Dial
	}
	inner, err := supervisor.New(cfg, app, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel))
	if err != nil {
		t.Fatal(err)
	}
	// The set drains after the test's own context has ended.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &Set{Set: inner, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- inner.Serve(ctx) }()
	t.Cleanup(func() {
		if err := s.end(); errors.Is(err, supervisor.ErrDrainDeadline) && !s.told.Load() {
			t.Errorf("handlers outlived the test: %v", err)
		}
	})
	waiting, waited := context.WithTimeout(ctx, 30*time.Second)
	defer waited()
	if err := inner.AwaitReady(waiting); err != nil {
		t.Fatal(err, s.Stop())
	}
	return s
}

// Stop drains and stops the set, and returns the error of its Serve. A test that calls Stop
// judges by itself whether a handler may outlive the set.
func (s *Set) Stop() error {
	s.told.Store(true)
	return s.end()
}

func (s *Set) end() error {
	s.once.Do(func() {
		s.stop()
		s.err = <-s.done
	})
	return s.err
}

// Ended waits until the set ends by itself, for at most 30 s, and returns the error of its
// Serve.
func (s *Set) Ended(t testing.TB) error {
	t.Helper()
	s.told.Store(true)
	s.once.Do(func() {
		select {
		case s.err = <-s.done:
		case <-time.After(30 * time.Second):
			t.Error("the set has not ended within 30 s")
			s.stop()
			s.err = <-s.done
		}
	})
	return s.err
}
