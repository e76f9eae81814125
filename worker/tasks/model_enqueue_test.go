package tasks

import (
	"fmt"
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
	Settled int
	Order   []int          // the batches after it that were stored, as they came
	Stored  map[int]string // of these the refused tasks: position, code, …
}

// String is how Redis holds it.
func (p specProducer) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d|", p.Settled)
	for _, n := range p.Order {
		fmt.Fprintf(&out, "%d:%s;", n, p.Stored[n])
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

// sendLast sends a producer's last batch. It may still wait for the answer to the
// one before it, and so ask for that again.
func (m *machine) sendLast(producer string) {
	p := m.senders[producer]
	p.settled = max(p.settled, len(p.batches)-1-m.draw("waits", 2))
	m.send(producer, len(p.batches), p.settled, m.draw("behind", 2)*p.settled)
}

// enqueueCrossed has two batches arrive in the wrong order, of which the second may
// have to be stored behind the first.
func (m *machine) enqueueCrossed() {
	producer := m.producer()
	p := m.senders[producer]
	p.settled = len(p.batches)
	for range 2 {
		m.batch(producer, func() string { return "" })
	}
	first, behind := p.settled+1, m.draw("behind", 2)
	for i, number := range []int{first + 1, first, first + 1} {
		if i > 0 {
			m.then() // whom one wakes is known before the next wakes another
		}
		m.send(producer, number, p.settled, behind*(number-1))
	}
}

// enqueueAgain sends one of a producer's last batches once more: it waits for the
// answer, or this is a late copy.
func (m *machine) enqueueAgain() {
	producer := m.producer()
	p := m.senders[producer]
	if n := len(p.batches); n > 0 {
		number := max(1, n-m.draw("which batch", 3))
		m.send(producer, number, max(0, min(p.settled, number-1)-m.draw("sent before", 2)), 0)
	}
}

// send sends one of a producer's batches, with what the producer knew then: up to
// which number all was settled, and which one must be stored before, or 0. One that
// Redis has gone back behind is new to it.
func (m *machine) send(producer string, number, settled, behind int) {
	p := m.senders[producer]
	s := &submission{ctx: m.ctx, tasks: p.batches[number-1].tasks, done: make(chan struct{})}
	b := &batch{number: uint64(number), parts: []*submission{s}}
	if behind > 0 {
		b.behind = &batch{number: uint64(behind)}
	}
	reply, err := p.client.try(m.ctx, b, uint64(settled))
	require.NoError(m.t, err)
	known := m.spec.Producers[producer]
	early := known.isNew(number) && behind > settled && !slices.Contains(known.Order, behind)
	require.Equal(m.t, early, isEarly(reply))
	if early {
		return
	}
	b.settle(reply, protocolError(reply))
	require.NoError(m.t, s.err)
	if known.isNew(number) {
		known = known.with(number, settled, m.spec.addAll(s.tasks))
		m.spec.Producers[producer] = known
	}
	words := strings.Fields(known.Stored[number])
	require.Len(m.t, s.refused, len(words)/2)
	for i := 0; i+1 < len(words); i += 2 {
		at, _ := strconv.Atoi(words[i])
		require.Equal(m.t, words[i+1], s.refused[at-1])
	}
}

// isNew reports whether Redis takes a batch of that number.
func (p specProducer) isNew(number int) bool {
	return number > p.Settled && !slices.Contains(p.Order, number)
}

// with is the producer after a batch was stored.
func (p specProducer) with(number, settled int, refused string) specProducer {
	out := specProducer{Settled: max(p.Settled, settled), Stored: map[int]string{number: refused}}
	for _, n := range p.Order {
		if n > settled {
			out.Order, out.Stored[n] = append(out.Order, n), p.Stored[n]
		}
	}
	out.Order = append(out.Order, number)
	return out
}

// addAll stores the tasks of a batch, and returns those that were refused as
// position, code, …
func (s *spec) addAll(tasks []prepared) string {
	var refused []string
	for i, p := range tasks {
		if code := s.add(p, true); code != "" {
			refused = append(refused, strconv.Itoa(i+1)+" "+code)
		}
	}
	return strings.Join(refused, " ")
}
