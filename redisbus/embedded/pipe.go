package embedded

import (
	"net"
	"sync"
)

// pipe is the client's end of a connection; its writes never block. An in-process pipe
// has no buffer, unlike a socket: a client that writes a long pipeline of commands before
// it reads, and a server that answers the first command before it reads the next, would
// wait for each other.
type pipe struct {
	net.Conn

	before func() // is called before anything is written to the server

	mu     sync.Mutex
	queue  [][]byte
	sender bool // a goroutine is writing the queue to the server
	err    error
}

// Write queues a copy of b. If an earlier write has failed, Write returns that error.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	p.queue = append(p.queue, append([]byte(nil), b...))
	if !p.sender {
		p.sender = true
		go p.send()
	}
	return len(b), nil
}

// send writes until the queue is empty, the server is gone or the pipe is closed.
func (p *pipe) send() {
	for {
		p.mu.Lock()
		batch := p.queue
		p.queue = nil
		if len(batch) == 0 || p.err != nil {
			p.sender = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.before()
		for _, b := range batch {
			if _, err := p.Conn.Write(b); err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
				break
			}
		}
	}
}
