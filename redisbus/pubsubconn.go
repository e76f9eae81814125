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

// pubsubConn is a connection that listens. The client library's own has 64 KiB of
// buffers, of whatever size its options say, and hides when it connects anew.
type pubsubConn struct {
	conn    net.Conn
	in      *bufio.Reader
	timeout time.Duration // of writing
	// channels are the channels that were subscribed, to be met again without a copy.
	channels map[string]string

	mu sync.Mutex // orders what is sent, and guards names
}

// pubsubEvent is one thing that came: a message, or the confirmation of a subscription.
type pubsubEvent struct {
	kind, channel string
	payload       []byte
}

// appendOpen connects to where the subscriber's options say.
func (b *Bus) openPubSub(ctx context.Context) (*pubsubConn, error) {
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
	e := &pubsubConn{conn: conn, in: bufio.NewReaderSize(conn, o.ReadBufferSize), timeout: o.WriteTimeout, channels: map[string]string{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := e.handshake(ctx, o); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return e, nil
}

// handshake says who is there and waits for the answers.
func (e *pubsubConn) handshake(ctx context.Context, o *redis.Options) error {
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
		if _, err := e.readLine(); err != nil {
			return err
		}
	}
	return e.conn.SetReadDeadline(time.Time{})
}

// subscribe asks for channels; the answers come among the messages.
func (e *pubsubConn) subscribe(channels ...string) error {
	e.mu.Lock()
	for _, c := range channels {
		e.channels[c] = c
	}
	e.mu.Unlock()
	return e.send(append([]string{"subscribe"}, channels...)...)
}

func (e *pubsubConn) send(words ...string) error {
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

func (e *pubsubConn) close() { _ = e.conn.Close() }

// next waits for the next thing that comes.
func (e *pubsubConn) next() (pubsubEvent, error) {
	n, err := e.readCount('*')
	if err != nil || n < 3 {
		return pubsubEvent{}, errors.Join(err, e.discardBulks(n))
	}
	kind, err := e.readBulk()
	if err != nil {
		return pubsubEvent{}, err
	}
	name, err := e.readBulk()
	if err != nil {
		return pubsubEvent{}, err
	}
	got := pubsubEvent{kind: string(kind), channel: e.internChannel(name)}
	if got.kind == "message" {
		got.payload, err = e.readBulk()
	} else {
		_, err = e.readCount(':')
	}
	return got, err
}

// discardBulks passes over the texts of an answer that is none to a subscription.
func (e *pubsubConn) discardBulks(texts int) error {
	for range texts {
		if _, err := e.readBulk(); err != nil {
			return err
		}
	}
	return nil
}

func (e *pubsubConn) internChannel(raw []byte) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.channels[string(raw)]; ok {
		return known
	}
	return string(raw)
}

// readBulk reads a text. Of one that is larger than any message may be, only that is
// hasPlainToken: a slice that is too long.
func (e *pubsubConn) readBulk() ([]byte, error) {
	n, err := e.readCount('$')
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

// readCount reads a line that is a number behind that mark.
func (e *pubsubConn) readCount(mark byte) (int, error) {
	line, err := e.readLine()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(line[1:]))
	if line[0] != mark || err != nil {
		return 0, fmt.Errorf("redis sent %.40q where %q was expected", line, mark)
	}
	return n, nil
}

// pubsub reads a line; an error that Redis answers is one here.
func (e *pubsubConn) readLine() ([]byte, error) {
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
