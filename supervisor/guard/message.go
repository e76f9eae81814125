package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker/builtin"
)

// version is that of the messages. It changes when an older end would misunderstand them; new
// members, which it ignores, do not change it.
const version = 1

// maxMessage is the size of the longest message, in bytes: a start with some large secrets, or
// the end of a child that names many tasks.
const maxMessage = 1 << 20

// writeTime is how long a message may wait until the other end reads. Then it is dropped.
const writeTime = 2 * time.Second

// message is one line between a guardian and a child. Apart from the version, one of its members is
// set.
type message struct {
	Version int `json:"v"`

	// From the guardian.
	Start *start `json:"start,omitempty"` // the first message to a child
	Stop  int    `json:"stop,omitempty"`  // 1: drain; 2: stop within a second
	Order *Order `json:"order,omitempty"`
	// Connect: with the line comes a file, a connection with a request for the pages of the child.
	Connect bool  `json:"connect,omitempty"`
	Told    *done `json:"told,omitempty"` // the answer to ask
	// Operation is the present or last one of the guardian, told whenever it changes.
	Operation *builtin.Operation `json:"operation,omitempty"`

	// From a child.
	Status    *Status `json:"status,omitempty"`
	Done      *done   `json:"done,omitempty"`
	Ask       *Order  `json:"ask,omitempty"`       // for an operation of the guardian, of which somebody has asked a node
	Abandoned string  `json:"abandoned,omitempty"` // an incarnation whose id is free, and whose handlers still run
	End       *End    `json:"end,omitempty"`       // the last message of a child that ends by itself
}

// start tells a child what it is.
type start struct {
	Slot     int     `json:"slot"`
	Launch   string  `json:"launch"`   // see membership.Guarded
	Guardian int     `json:"guardian"` // its PID
	Workers  *int    `json:"workers,omitempty"`
	Quiet    bool    `json:"quiet,omitempty"`
	Again    bool    `json:"again,omitempty"` // the program has worked before: wait for Redis as long as it takes
	Secrets  secrets `json:"secrets,omitempty"`
	// Check: say only whether this program can take the guardian's place, by the code of the end.
	Check bool `json:"check,omitempty"`

	Operation *builtin.Operation `json:"operation,omitempty"`
}

// Order is an operation by its name: on the set of a child, or one of the guardian. The other end answers
// with done.
type Order struct {
	Number  int    `json:"number"` // the answer has it, too
	What    string `json:"what"`
	Workers int    `json:"workers,omitempty"` // of Scale
}

type done struct {
	Number int    `json:"number"`
	Error  string `json:"error,omitempty"`
	// Code is that of the error of an operation of the guardian; "" if it has none.
	Code rpcregistry.Code `json:"code,omitempty"`
	// Set is the answer to askStatus.
	Set *builtin.SetSum `json:"set,omitempty"`
}

// Status is what a child tells of its set every second, and whenever it changes.
type Status struct {
	Ready   int  `json:"ready"`   // nodes that run
	Workers int  `json:"workers"` // nodes that should run
	Leaving int  `json:"leaving,omitempty"`
	Quiet   bool `json:"quiet,omitempty"`
	Healthy bool `json:"healthy"`
	Redis   bool `json:"redis"` // Redis answers
	// Report has the lives that have ended so far. It is what is known of a child that dies.
	Report supervisor.Report `json:"report"`
}

// End is how a child ended by itself.
type End struct {
	Code   int               `json:"code"`            // its exit code
	Error  string            `json:"error,omitempty"` // "" if its log has the error
	Asked  bool              `json:"asked,omitempty"` // a signal, or the guardian, told it to stop
	Report supervisor.Report `json:"report"`
}

// pipe is one end of the connection between a guardian and a child. Its methods may be called
// concurrently, except for read.
type pipe struct {
	conn  *net.UnixConn
	files files
	ahead []byte // read, and not yet returned

	mu     sync.Mutex
	broken bool // a line was cut off: what follows would not be understood
}

// errVersion reports a message of another version of the protocol.
var errVersion = errors.New("the other program speaks another version of the guardian's protocol: " +
	"end the guardian, and start the new program in its place")

// newPipe returns the end that the file is, and closes the file.
func newPipe(f *os.File) (*pipe, error) {
	conn, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("it is no Unix socket"), conn.Close())
	}
	p := &pipe{conn: unix}
	p.files.conn = unix
	return p, nil
}

// errLong reports a message that the other end would not read.
var errLong = fmt.Errorf("the message is longer than %d KiB", maxMessage>>10)

// write sends a message unless the other end does not read for [writeTime], or the message is too long.
func (p *pipe) write(m message) error { return p.send(m, nil) }

// send is write with a file for the other end; nil for none.
func (p *pipe) send(m message, f *os.File) error {
	m.Version = version
	line, err := json.Marshal(m) //nolint:musttag // both ends are this program: a report goes under the names of its fields
	if err != nil {
		return err
	}
	if len(line) >= maxMessage {
		return errLong
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return net.ErrClosed
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := writeWith(p.conn, append(line, '\n'), f)
	if err != nil && n > 0 {
		p.broken = true
	}
	return err
}

// read waits for a message. The error is that of the connection's end, os.ErrDeadlineExceeded, after which
// nothing is lost, or errVersion.
func (p *pipe) read() (m message, err error) {
	line, err := p.line()
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil { //nolint:musttag // see write
		return m, fmt.Errorf("guardian's protocol: %w", err)
	}
	if m.Version != version {
		return m, errVersion
	}
	return m, nil
}

// line returns the next line. It is valid until the next call.
func (p *pipe) line() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(p.ahead[seen:], '\n'); i >= 0 {
			line := p.ahead[:seen+i]
			p.ahead = p.ahead[seen+i+1:]
			return line, nil
		}
		if seen = len(p.ahead); seen >= maxMessage {
			return nil, errors.New("guardian's protocol: a message is too long")
		}
		p.ahead = slices.Grow(p.ahead, 1<<10)
		n, err := p.files.Read(p.ahead[seen:cap(p.ahead)])
		p.ahead = p.ahead[:seen+n]
		if err != nil && n == 0 {
			return nil, err
		}
	}
}

func (p *pipe) close() {
	_ = p.conn.Close()
	p.files.close()
}
