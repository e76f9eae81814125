package redisbus

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func from(incarnation string, seq uint64) *Message {
	return &Message{Incarnation: incarnation, Seq: seq}
}

func TestReplaysAndGapsAreToldByTheNumbers(t *testing.T) {
	p, now := newPeers(), time.Now()
	admit := func(m *Message, want bool, wantLost uint64) {
		t.Helper()
		ok, lost := p.admit(m, now)
		require.Equal(t, want, ok)
		require.Equal(t, wantLost, lost)
	}
	admit(from("a#1:x", 5), true, 0)
	admit(from("a#1:x", 5), false, 0)
	admit(from("a#1:x", 4), false, 0)
	admit(from("a#1:x", 6), true, 0)
	admit(from("a#1:x", 9), true, 2)
	admit(from("a#2:x", 1), true, 0)
	directed := from("a#1:x", 9)
	directed.Directed = true
	admit(directed, true, 0)
	admit(directed, false, 0)
	admit(from("a#1:x", 9+minRestartJump), true, minRestartJump-1)
	admit(from("a#1:x", 10+2*minRestartJump), true, 0)
}

func TestSealedMessagesMayOvertakeEachOther(t *testing.T) {
	p, now := newPeers(), time.Now()
	admit := func(seq uint64) bool {
		m := from("a#1:x", seq)
		m.Sealed = true
		ok, lost := p.admit(m, now)
		require.Zero(t, lost)
		return ok
	}
	for _, seq := range []uint64{3, 1, 2, 64, 65, 63} {
		require.True(t, admit(seq))
	}
	for seq := range uint64(4) {
		require.Equal(t, seq == 0, admit(seq), seq)
	}
	require.True(t, admit(sealedWindow+10))
	require.False(t, admit(3), "seen")
	require.False(t, admit(10), "too old to know")
	require.True(t, admit(11))
	require.False(t, admit(11))
	require.True(t, admit(100*sealedWindow))
	require.True(t, admit(100*sealedWindow-1), "the window was emptied by the jump")
	require.False(t, admit(100*sealedWindow))
}

func TestSendersAreForgottenOnlyWhenTheirMessagesAreTooOldAnyway(t *testing.T) {
	p, now := newPeers(), time.Now()
	for i := range 10 * fewPeers {
		p.admit(from(fmt.Sprintf("a%d#1:x", i), 7), now)
	}
	ok, _ := p.admit(from("a0#1:x", 7), now.Add(2*window))
	require.False(t, ok, "a message may be replayed two minutes after it was heard")
	p.admit(from("b#1:x", 7), now.Add(forgetSoon+2*window))
	require.Len(t, p.seen, 1, "the memory is bounded")
}

func TestNumbersNeverGoBack(t *testing.T) {
	var n numbers
	now := time.Now()
	last := n.next("x", now)
	require.Equal(t, last+1, n.next("x", now))
	for i := range 2 * fewPeers {
		n.next(fmt.Sprint(i), now)
	}
	later := now.Add(forgetLate + window)
	n.next("new", later)
	require.Len(t, n.last, 1, "channels that are not used are forgotten")
	again := n.next("x", later)
	ok, lost := advance(&last, again)
	require.True(t, ok, "and when they are used again that is no replay")
	require.Zero(t, lost, "and no loss")

	back := now.Add(-time.Hour) // Redis's clock went back
	require.Greater(t, n.next("y", back), again)
}

func TestNames(t *testing.T) {
	p := newPeers()
	for name, want := range map[string]bool{
		"a#1:x": true, "a": true, "": false, "a#": false, "#1": false, "a#1#2": false, "a\n#1": false, "ä#1": false,
	} {
		_, ok := p.intern([]byte(name))
		require.Equal(t, want, ok, name)
	}
}

func TestSendersThatAreTooManyAreForgottenAndCannotBeReplayed(t *testing.T) {
	p, now := newPeers(), time.Now()
	message := func(i int) *Message {
		m := from(fmt.Sprintf("a%d#1:x", i), 7)
		m.SentAt = now.Add(time.Duration(i) * time.Millisecond)
		return m
	}
	const flood = 200_000
	for i := range flood {
		ok, _ := p.admit(message(i), now.Add(time.Duration(i)*time.Millisecond/10))
		require.True(t, ok)
		require.LessOrEqual(t, len(p.seen), maxPeers+1, "the memory is bounded")
	}
	for _, i := range []int{0, 1, flood / 2, flood - maxPeers, flood - 2, flood - 1} {
		ok, _ := p.admit(message(i), now.Add(time.Minute))
		require.False(t, ok, "message %d was delivered before", i)
	}
	ok, _ := p.admit(message(flood+1), now.Add(time.Minute))
	require.True(t, ok)

	n := numbers{}
	for i := range flood {
		n.next(fmt.Sprint(i), now)
		require.LessOrEqual(t, len(n.last), maxPeers)
	}
}
