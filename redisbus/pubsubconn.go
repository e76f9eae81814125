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

// pubsubConn is a connection to Redis that has subscribed. It is used in place of
// redis.PubSub, which reads through 64 KiB of buffers whatever its options say,
// and which reconnects without notice.
type pubsubConn struct {
	conn         net.Conn
	reader       *bufio.Reader
	writeTimeout time.Duration
	// channels are the subscribed ones: a message's channel is looked up here
	// instead of being copied.
	channels map[string]string

	mu sync.Mutex // orders writes, and guards channels
}

// pubsubEvent is a message, or the confirmation of a subscription.
type pubsubEvent struct {
	kind, channel string
	payload       []byte
}

// openPubSub connects to the server that the subscriber's options name.
func (b *Bus) openPubSub(ctx context.Context) (*pubsubConn, error) {
	o := b.subscriber.Options()
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	p := &pubsubConn{
		conn: conn, reader: bufio.NewReaderSize(conn, o.ReadBufferSize), writeTimeout: o.WriteTimeout, channels: map[string]string{},
	}
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	if err := p.handshake(o); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// handshake authenticates, names the connection and waits for the answers.
func (p *pubsubConn) handshake(o *redis.Options) error {
	_ = p.conn.SetReadDeadline(time.Now().Add(o.ReadTimeout))
	var commands [][]string
	switch {
	case o.Username != "":
		commands = append(commands, []string{"auth", o.Username, o.Password})
	case o.Password != "":
		commands = append(commands, []string{"auth", o.Password})
	}
	if o.ClientName != "" {
		commands = append(commands, []string{"client", "setname", o.ClientName})
	}
	for _, c := range commands {
		if err := p.send(c...); err != nil {
			return err
		}
		if _, err := p.readLine(); err != nil {
			return err
		}
	}
	return p.conn.SetReadDeadline(time.Time{})
}

// subscribe asks for channels; the confirmations come among the messages.
func (p *pubsubConn) subscribe(channels ...string) error {
	p.mu.Lock()
	for _, c := range channels {
		p.channels[c] = c
	}
	p.mu.Unlock()
	return p.send(append([]string{"subscribe"}, channels...)...)
}

func (p *pubsubConn) send(words ...string) error {
	text := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(w), w)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(p.writeTimeout))
	_, err := p.conn.Write(text)
	return err
}

func (p *pubsubConn) close() { _ = p.conn.Close() }

// next waits for the next event. For a reply that is neither a message nor a
// confirmation it returns an event without a kind.
func (p *pubsubConn) next() (pubsubEvent, error) {
	n, err := p.readCount('*')
	if err != nil || n < 3 {
		return pubsubEvent{}, errors.Join(err, p.discardBulks(n))
	}
	var event pubsubEvent
	if event.kind, err = p.readName(internKind); err != nil {
		return pubsubEvent{}, err
	}
	if event.channel, err = p.readName(p.internChannel); err != nil {
		return pubsubEvent{}, err
	}
	if event.kind == "message" {
		event.payload, err = p.readBulk()
	} else {
		_, err = p.readCount(':')
	}
	return event, err
}

func (p *pubsubConn) discardBulks(n int) error {
	for range n {
		if _, err := p.readBulk(); err != nil {
			return err
		}
	}
	return nil
}

// readName reads a bulk string that intern most often knows, which then is not copied.
func (p *pubsubConn) readName(intern func([]byte) string) (string, error) {
	n, err := p.readCount('$')
	if err != nil || n < 0 {
		return "", err
	}
	if n+len("\r\n") > p.reader.Size() {
		text, err := p.readText(n)
		return string(text), err
	}
	text, err := p.reader.Peek(n + len("\r\n"))
	if err != nil {
		return "", err
	}
	name := intern(text[:n])
	_, err = p.reader.Discard(len(text))
	return name, err
}

func internKind(kind []byte) string {
	if string(kind) == "message" {
		return "message"
	}
	return string(kind)
}

func (p *pubsubConn) internChannel(name []byte) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.channels[string(name)]; ok {
		return known
	}
	return string(name)
}

// readBulk reads a bulk string. If the string is longer than [MaxMessage], it returns the
// first MaxMessage+1 bytes and discards the rest: the message will be dropped.
func (p *pubsubConn) readBulk() ([]byte, error) {
	n, err := p.readCount('$')
	if err != nil || n < 0 {
		return nil, err
	}
	return p.readText(n)
}

// readText reads the n bytes of a bulk string.
func (p *pubsubConn) readText(n int) ([]byte, error) {
	text := make([]byte, min(n, MaxMessage+1))
	if _, err := io.ReadFull(p.reader, text); err != nil {
		return nil, err
	}
	_, err := p.reader.Discard(n - len(text) + len("\r\n"))
	return text, err
}

// readCount reads a line that consists of a RESP type mark, such as $, and a number.
func (p *pubsubConn) readCount(mark byte) (int, error) {
	line, err := p.readLine()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(line[1:]))
	if line[0] != mark || err != nil {
		return 0, fmt.Errorf("redis sent %.40q where %q was expected", line, mark)
	}
	return n, nil
}

// readLine reads a line. It returns an error reply of Redis as a [link.ReplyError].
func (p *pubsubConn) readLine() ([]byte, error) {
	line, err := p.reader.ReadSlice('\n')
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
