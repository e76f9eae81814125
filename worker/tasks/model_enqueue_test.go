package tasks

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// sender is a producer of the model: its batches, the first one's number is 1, and
// up to which it knows what became of them.
type sender struct {
	client  *Client
	batches []*submission
	settled int
}

// specProducer is what Redis has to remember of a producer.
type specProducer struct {
	Batch   uint64
	Answers map[uint64]string // of batches with refused tasks: position, code, …
}

// String is how Redis holds it.
func (p specProducer) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d|", p.Batch)
	for _, n := range slices.Sorted(maps.Keys(p.Answers)) {
		fmt.Fprintf(&out, "%d:%s;", n, p.Answers[n])
	}
	return out.String()
}

func (m *machine) enqueue() { m.enqueueSome(func() string { return "" }) }

func (m *machine) enqueueChosen() {
	m.enqueueSome(func() string { return "c" + strconv.Itoa(m.draw("chosen id", 4)) })
}

func (m *machine) enqueueSome(id func() string) {
	producer := m.producer()
	m.batch(producer, id)
	m.sendLast(producer)
}

func (m *machine) producer() string { return "p" + strconv.Itoa(m.draw("producer", 2)) }

// batch gives a producer another batch to send.
func (m *machine) batch(producer string, id func() string) {
	s := &submission{ctx: m.ctx}
	alike, o := m.draw("alike", 2) == 1, m.options()
	for range 1 + m.draw("tasks", 4) {
		if !alike {
			o = m.options()
		}
		o.ID = id()
		if slices.Contains(o.After, o.ID) {
			o.After = nil
		}
		some, err := m.client.prepareMany([]New{{Name: []string{"t", "u"}[m.draw("name", 2)], Payload: 1, Options: o}})
		require.NoError(m.t, err)
		s.tasks = append(s.tasks, some...)
	}
	m.senders[producer].batches = append(m.senders[producer].batches, s)
}

// sendLast sends a producer's last batch. It may wait for the answer to the one
// before it, and so ask for that again.
func (m *machine) sendLast(producer string) {
	p := m.senders[producer]
	if before := len(p.batches) - 1; m.draw("waits", 2) == 1 {
		p.settled = max(p.settled, before-1)
	} else {
		p.settled = before
	}
	m.send(producer, len(p.batches))
}

// enqueueEarly has two batches arrive in the wrong order.
func (m *machine) enqueueEarly() {
	producer := m.producer()
	p := m.senders[producer]
	p.settled = len(p.batches)
	for range 2 {
		m.batch(producer, func() string { return "" })
	}
	m.send(producer, p.settled+2)
	m.send(producer, p.settled+1)
	m.then() // whom the first wakes is known before the second wakes another
	m.send(producer, p.settled+2)
}

// enqueueAgain sends a batch once more whose answer the producer waits for.
func (m *machine) enqueueAgain() {
	producer := m.producer()
	if p := m.senders[producer]; len(p.batches) > p.settled {
		m.send(producer, p.settled+1+m.draw("which batch", len(p.batches)-p.settled))
	}
}

// send sends one of a producer's batches. One that Redis has gone back behind is
// new to it.
func (m *machine) send(producer string, number int) {
	p := m.senders[producer]
	b := &batch{number: uint64(number), parts: []*submission{{ctx: m.ctx, tasks: p.batches[number-1].tasks, done: make(chan struct{})}}}
	reply, err := p.client.try(m.ctx, b, uint64(p.settled))
	require.NoError(m.t, err)
	known := m.spec.Producers[producer]
	early := number > int(known.Batch) && number-1 != max(int(known.Batch), p.settled)
	require.Equal(m.t, early, isEarly(reply))
	if early {
		return
	}
	b.settle(reply, protocolError(reply))
	if number > int(known.Batch) {
		known = m.spec.take(known, b, p.settled)
		m.spec.Producers[producer] = known
	}
	require.NoError(m.t, b.parts[0].err)
	words := strings.Fields(known.Answers[b.number])
	require.Len(m.t, b.parts[0].refused, len(words)/2)
	for i := 0; i+1 < len(words); i += 2 {
		at, _ := strconv.Atoi(words[i])
		require.Equal(m.t, words[i+1], b.parts[0].refused[at-1])
	}
}

// take stores a batch.
func (s *spec) take(known specProducer, b *batch, settled int) specProducer {
	answers := maps.Clone(known.Answers)
	maps.DeleteFunc(answers, func(n uint64, _ string) bool { return n <= uint64(settled) })
	var refused []string
	for i, p := range b.parts[0].tasks {
		if code := s.add(p, true); code != "" {
			refused = append(refused, strconv.Itoa(i+1)+" "+code)
		}
	}
	if len(refused) > 0 {
		if answers == nil {
			answers = map[uint64]string{}
		}
		answers[b.number] = strings.Join(refused, " ")
	}
	return specProducer{b.number, answers}
}
