package redisbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stellarfw/stellar/redisbus/link"
)

// ear is a connection that listens. The client library's own has 64 KiB of
// buffers, of whatever size its options say, and hides when it connects anew.
type ear struct {
	conn    net.Conn
	in      *bufio.Reader
	timeout time.Duration // of writing
	// names are the channels that were subscribed, to be met again without a copy.
	names map[string]string

	mu sync.Mutex // orders what is sent, and guards names
}

// heard is one thing that came: a message, or the confirmation of a subscription.
type heard struct {
	kind, channel string
	payload       []byte
}

// open connects to where the subscriber's options say.
func (b *Bus) open(ctx context.Context) (*ear, error) {
	single, ok := b.subscriber.(*redis.Client)
	if cluster, is := b.subscriber.(*redis.ClusterClient); is {
		var err error
		if single, err = cluster.MasterForKey(ctx, b.keys.Channel()); err != nil {
			return nil, err
		}
	} else if !ok {
		return nil, fmt.Errorf("a bus cannot listen through a %T", b.subscriber)
	}
	o := single.Options()
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	e := &ear{conn: conn, in: bufio.NewReaderSize(conn, o.ReadBufferSize), timeout: o.WriteTimeout, names: map[string]string{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := e.greet(ctx, o); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return e, nil
}

// greet says who is there and waits for the answers.
func (e *ear) greet(ctx context.Context, o *redis.Options) error {
	_ = e.conn.SetReadDeadline(time.Now().Add(o.ReadTimeout))
	user, password := o.Username, o.Password
	if o.CredentialsProviderContext != nil {
		var err error
		if user, password, err = o.CredentialsProviderContext(ctx); err != nil {
			return err
		}
	} else if o.CredentialsProvider != nil {
		user, password = o.CredentialsProvider()
	}
	var commands [][]string
	switch {
	case user != "":
		commands = append(commands, []string{"auth", user, password})
	case password != "":
		commands = append(commands, []string{"auth", password})
	}
	if o.ClientName != "" {
		commands = append(commands, []string{"client", "setname", o.ClientName})
	}
	for _, c := range commands {
		if err := e.send(c...); err != nil {
			return err
		}
		if _, err := e.line(); err != nil {
			return err
		}
	}
	return e.conn.SetReadDeadline(time.Time{})
}

// subscribe asks for channels; the answers come among the messages.
func (e *ear) subscribe(channels ...string) error {
	e.mu.Lock()
	for _, c := range channels {
		e.names[c] = c
	}
	e.mu.Unlock()
	return e.send(append([]string{"subscribe"}, channels...)...)
}

func (e *ear) send(words ...string) error {
	text := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(w), w)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.conn.SetWriteDeadline(time.Now().Add(e.timeout))
	_, err := e.conn.Write(text)
	return err
}

func (e *ear) close() { _ = e.conn.Close() }

// next waits for the next thing that comes.
func (e *ear) next() (heard, error) {
	n, err := e.count('*')
	if err != nil || n < 3 {
		return heard{}, errors.Join(err, e.skip(n))
	}
	kind, err := e.bulk()
	if err != nil {
		return heard{}, err
	}
	name, err := e.bulk()
	if err != nil {
		return heard{}, err
	}
	got := heard{kind: string(kind), channel: e.name(name)}
	if got.kind == "message" {
		got.payload, err = e.bulk()
	} else {
		_, err = e.count(':')
	}
	return got, err
}

// skip passes over the texts of an answer that is none to a subscription.
func (e *ear) skip(texts int) error {
	for range texts {
		if _, err := e.bulk(); err != nil {
			return err
		}
	}
	return nil
}

func (e *ear) name(raw []byte) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.names[string(raw)]; ok {
		return known
	}
	return string(raw)
}

// bulk reads a text. Of one that is larger than any message may be, only that is
// told: a slice that is too long.
func (e *ear) bulk() ([]byte, error) {
	n, err := e.count('$')
	if err != nil || n < 0 {
		return nil, err
	}
	text := make([]byte, min(n, MaxMessage+1))
	if _, err := io.ReadFull(e.in, text); err != nil {
		return nil, err
	}
	_, err = e.in.Discard(n - len(text) + len("\r\n"))
	return text, err
}

// count reads a line that is a number behind that mark.
func (e *ear) count(mark byte) (int, error) {
	line, err := e.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(line[1:]))
	if line[0] != mark || err != nil {
		return 0, fmt.Errorf("redis sent %.40q where %q was expected", line, mark)
	}
	return n, nil
}

// line reads a line; an error that Redis answers is one here.
func (e *ear) line() ([]byte, error) {
	line, err := e.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, errors.New("redis sent an empty line")
	}
	line = line[:len(line)-2]
	if line[0] == '-' {
		return nil, link.ReplyError(line[1:])
	}
	return line, nil
}
