package redisbus

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// maxInboxes bounds the known inboxes.
const maxInboxes = 4096

// Inboxes know on which inboxes nodes listen: each life of a node has one of its own.
type Inboxes struct {
	locate func(context.Context, string) (string, error)
	age    time.Duration

	mu    sync.Mutex
	known map[string]located
}

type located struct {
	inbox string
	at    time.Time
}

// NewInboxes returns inboxes for [BusConfig]. locate returns the name of the inbox of a node:
// its incarnation, or its id if the node is of an older version, or if nobody knows it. What
// it returns counts for the time age, unless [Inboxes.Forget] comes before. Nobody else can
// say that a node has a new life: also somebody who must not may subscribe to an inbox.
func NewInboxes(locate func(ctx context.Context, node string) (inbox string, err error), age time.Duration) *Inboxes {
	return &Inboxes{locate: locate, age: age, known: map[string]located{}}
}

// Forget has the inbox of a node looked up again, because a life of the node has ended.
func (i *Inboxes) Forget(node string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.known, node)
}

func (i *Inboxes) get(node string) (inbox string, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	l, known := i.known[node]
	return l.inbox, known && time.Since(l.at) < i.age
}

func (i *Inboxes) put(node, inbox string, asked time.Time) {
	if i.age == 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.known) >= maxInboxes {
		clear(i.known)
	}
	i.known[node] = located{inbox, asked}
}

// isIncarnation reports whether the name of a node is that of one of its lives.
func isIncarnation(node string) bool { return strings.Contains(node, "#") }

// lookUp asks for the inbox of a node.
func (b *Bus) lookUp(ctx context.Context, node string) (inbox string, err error) {
	if b.inboxes == nil || isIncarnation(node) {
		return node, nil
	}
	asked := time.Now()
	inbox, err = b.inboxes.locate(ctx, node)
	if err != nil {
		if link.OutcomeOf(err) == link.Ran {
			return node, nil // such as a member list of the wrong type
		}
		return "", link.NotSent(err)
	}
	b.inboxes.put(node, inbox, asked)
	return inbox, nil
}

// address queues a message for its inbox, or, if that has to be looked up first, does both in
// the background. lead is as of [outbox.put].
func (b *Bus) address(ctx context.Context, m Outgoing, done func(receivers int64, err error)) (lead bool, err error) {
	switch {
	case m.Node == "" || m.Inbox != "":
	case b.inboxes == nil || isIncarnation(m.Node):
		m.Inbox = m.Node
	default:
		inbox, known := b.inboxes.get(m.Node)
		if !known {
			_, err := b.check(m)
			if err == nil {
				go b.lookUpAndPost(ctx, m, "", done)
			}
			return false, err
		}
		outer, again := done, m
		m.Inbox, done = inbox, func(receivers int64, err error) {
			if receivers == 0 && err == nil { // the node may have a new life
				go b.lookUpAndPost(ctx, again, inbox, outer)
			} else if outer != nil {
				outer(receivers, err)
			}
		}
	}
	return b.queue(m, done)
}

// lookUpAndPost posts a message to the inbox of its node, unless that still is the inbox
// without a receiver, empty where the message was not sent before.
func (b *Bus) lookUpAndPost(ctx context.Context, m Outgoing, empty string, done func(receivers int64, err error)) {
	inbox, err := b.lookUp(ctx, m.Node)
	if err == nil && inbox != empty {
		m.Inbox = inbox
		if err = b.PostNow(ctx, m, done); err == nil {
			return
		}
	}
	if done != nil {
		done(0, err)
	}
}
