package link

import (
	"sync"
	"time"
)

// Bounds of a [Pace].
const (
	paceInterval = 5 * time.Millisecond
	paceBurst    = 20
)

// Pace bounds how often Redis is asked because of hints: messages without a proof, which
// anybody may send who may publish. A look costs a part of a budget, unless it found what
// the hint had promised ([Pace.Refund]): the budget is 20 looks, and one more every 5 ms. So
// a flood of hints causes 200 requests a second and no more, and those who send hints for a
// reason never wait. The zero value is ready for use.
type Pace struct {
	mu      sync.Mutex
	next    time.Time // when a look would be due if there were one every paceInterval
	delayed bool      // Do has put a call off
}

// Pause takes a look from the budget, and returns for how long to wait before it.
func (p *Pace) Pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take()
}

func (p *Pace) take() time.Duration {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now) - (paceBurst-1)*paceInterval
	p.next = p.next.Add(paceInterval)
	return max(wait, 0)
}

// Refund gives a look back that was worth it.
func (p *Pace) Refund() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = p.next.Add(-paceInterval)
}

// Do calls f, which asks for one look, at once or when the budget allows it. While a call is
// put off, further calls go into that one.
func (p *Pace) Do(f func()) {
	p.mu.Lock()
	if p.delayed {
		p.mu.Unlock()
		return
	}
	wait := p.take()
	p.delayed = wait > 0
	p.mu.Unlock()
	if wait == 0 {
		f()
		return
	}
	time.AfterFunc(wait, func() {
		p.mu.Lock()
		p.delayed = false
		p.mu.Unlock()
		f()
	})
}
