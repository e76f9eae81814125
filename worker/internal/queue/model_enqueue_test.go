package queue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// sender is a producer of the model: its batches, the first one's number is 1, and
// for which of them it waits.
type sender struct {
	producer *Producer
	batches  []*submission
	waits    []int
}

// specProducer is what Redis has to remember of a producer.
type specProducer struct {
	Largest int
	Order   []int          // those that it waits for, as they came
	States  map[int]string // of these: "-", or the refused tasks: position, code, …
}

// String is how Redis holds it.
func (p specProducer) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d|", p.Largest)
	for _, n := range p.Order {
		fmt.Fprintf(&out, "%d:%s;", n, p.States[n])
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
		o.Name = modelTaskNames[m.draw("name", 2)]
		s.tasks = append(s.tasks, m.ready(o)...)
	}
	m.senders[producer].batches = append(m.senders[producer].batches, s)
}

// sendLast sends a producer's last batch. It may still wait for the one before it,
// and so ask for that again, and have this one stored behind it.
func (m *machine) sendLast(producer string) {
	p, n := m.senders[producer], len(m.senders[producer].batches)
	var open []int
	if slices.Contains(p.waits, n-1) && m.draw("waits", 2) == 1 {
		open = []int{n - 1}
	}
	m.send(producer, n, open, m.draw("behind", 2) == 1)
	p.waits = slices.Concat(open, []int{n})
}

// enqueueCrossed has two batches arrive in the wrong order, of which the second may
// have to be stored behind the first.
func (m *machine) enqueueCrossed() {
	producer := m.producer()
	p := m.senders[producer]
	for range 2 {
		m.batch(producer, func() string { return "" })
	}
	first, second := len(p.batches)-1, len(p.batches)
	behind := m.draw("behind", 2) == 1
	m.send(producer, second, []int{first}, behind)
	m.then() // whom one wakes is known before the next wakes another
	m.send(producer, first, nil, false)
	m.then()
	m.send(producer, second, []int{first}, behind)
	p.waits = []int{first, second}
}

// enqueueAgain sends one of a producer's last batches once more: it waits for the
// answer, or this is a late copy.
func (m *machine) enqueueAgain() {
	producer := m.producer()
	p := m.senders[producer]
	if len(p.batches) == 0 {
		return
	}
	number := max(1, len(p.batches)-m.draw("which batch", 3))
	var open []int
	if number > 1 && m.draw("waits", 2) == 1 {
		open = []int{number - 1}
	}
	m.send(producer, number, open, false)
}

// send sends one of a producer's batches, with the smaller numbers for which the
// producer waited then, and whether it is behind the last of these. One that Redis
// has gone back behind is new to it.
func (m *machine) send(producer string, number int, open []int, behind bool) {
	p := m.senders[producer]
	s := &submission{ctx: m.ctx, caller: m.senders[producer].producer.Caller(m.ctx, errClosed), tasks: p.batches[number-1].tasks, done: make(chan struct{})}
	b := &batch{number: uint64(number), parts: []*submission{s}}
	var others []*batch
	for _, n := range open {
		others = append(others, &batch{number: uint64(n)})
	}
	var first *batch
	if behind && len(open) > 0 {
		first = others[len(others)-1]
	}
	known := m.spec.Producers[producer]
	refused, err := m.try(p.producer, b, others, first)
	defer func() { m.spec.stamp = 0 }()
	early := known.expects(number) && first != nil && !known.stored(open[len(open)-1])
	require.Equal(m.t, early, isEarly(err))
	if early {
		return
	}
	require.NoError(m.t, err)
	b.finish(refused, nil)
	require.NoError(m.t, s.err)
	if known.expects(number) {
		m.settled(bodiesOf(b.parts))
		known = known.with(number, open, m.spec.addAll(s.tasks))
		m.spec.Producers[producer] = known
	}
	words := strings.Fields(known.States[number])
	require.Len(m.t, s.refused, len(words)/2)
	for i := 0; i+1 < len(words); i += 2 {
		at, _ := strconv.Atoi(words[i])
		require.Equal(m.t, words[i+1], s.refused[at-1])
	}
}

// try sends a batch, at times with ready records, if it can have them.
func (m *machine) try(p *Producer, b *batch, others []*batch, behind *batch) (refused map[int]string, err error) {
	kind := plainKind(b)
	if kind == nil || m.draw("ready", 2) == 0 {
		return p.try(m.ctx, b, others, behind)
	}
	off := []int64{0, -1000, 1000, -1001, 1001}[m.draw("off", 5)]
	now := time.UnixMilli(m.spec.Now + off)
	refused, err = p.tryReady(m.ctx, p.numbering(b, others, behind), b, kind, now)
	known, number := m.spec.Producers[p.name], int(b.number)
	early := behind != nil && !known.stored(int(behind.number))
	other := known.expects(number) && !early && (off < -1000 || off > 1000 || m.spec.isSet(kind.Queue()))
	require.Equal(m.t, other, isOther(err), "off %d", off)
	if other {
		m.compare()
		return p.try(m.ctx, b, others, behind)
	}
	m.spec.stamp = now.UnixMilli()
	return refused, err
}

// expects reports whether Redis takes a batch of that number.
func (p specProducer) expects(number int) bool {
	return number > p.Largest || p.States[number] == "-"
}

func (p specProducer) stored(number int) bool {
	return slices.Contains(p.Order, number) && p.States[number] != "-"
}

// with is the producer after a batch was stored.
func (p specProducer) with(number int, open []int, refused string) specProducer {
	out := specProducer{Largest: max(p.Largest, number), States: map[int]string{}}
	put := func(n int, state string) { out.Order, out.States[n] = append(out.Order, n), state }
	for _, n := range p.Order {
		if n > number || n < number && slices.Contains(open, n) {
			put(n, p.States[n])
		}
	}
	for _, n := range open {
		if n > p.Largest {
			put(n, "-")
		}
	}
	put(number, refused)
	return out
}

// addAll stores the tasks of a batch. It returns those that were refused, each as its
// position and the code.
func (s *spec) addAll(tasks []Task) string {
	var refused []string
	for i, p := range tasks {
		if code := s.add(p, true); code != "" {
			refused = append(refused, strconv.Itoa(i+1)+" "+code)
		}
	}
	return strings.Join(refused, " ")
}

// settled: the script that stores or refuses a task leaves no body to its expiry.
func (m *machine) settled(bodies []body) {
	for _, b := range bodies {
		require.Negative(m.t, m.redis.PTTL(m.ctx, m.keys.Body(b.name)).Val(), "body %s", b.name)
	}
}
