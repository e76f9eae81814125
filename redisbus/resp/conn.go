package resp

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

// Conn is a connection. One goroutine may read while others write.
type Conn struct {
	conn     net.Conn
	reader   *bufio.Reader
	options  *redis.Options
	silence  time.Duration // see [Listener]
	received func()        // see [Listener]; nil: nobody is told
	listening

	mu sync.Mutex // orders the writes of Send
}

// Dial connects as the client does, authenticates and names the connection. The client is a
// *redis.Client or a *redis.ClusterClient. In a Cluster the connection is to any primary, as each
// hears what is published on the others.
func Dial(ctx context.Context, client redis.UniversalClient) (*Conn, error) {
	var o *redis.Options
	switch c := client.(type) {
	case interface{ Options() *redis.Options }:
		o = c.Options()
	case *redis.ClusterClient:
		primary, err := c.MasterForKey(ctx, "")
		if err != nil {
			return nil, link.Explain(err)
		}
		o = primary.Options()
	default:
		return nil, fmt.Errorf("cannot listen on Redis as a %T does: use a *redis.Client", client)
	}
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, options: o}
	c.reader = bufio.NewReaderSize(patient{c}, o.ReadBufferSize)
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	if err := c.handshake(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// handshake authenticates, names the connection and waits for the answers.
func (c *Conn) handshake(ctx context.Context) error {
	user, password, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	switch {
	case user != "":
		_, err = c.Do("auth", user, password)
	case password != "":
		_, err = c.Do("auth", password)
	}
	if err == nil && c.options.ClientName != "" {
		_, err = c.Do("client", "setname", c.options.ClientName)
	}
	return err
}

func (c *Conn) credentials(ctx context.Context) (user, password string, err error) {
	switch o := c.options; {
	case o.CredentialsProviderContext != nil:
		return o.CredentialsProviderContext(ctx)
	case o.CredentialsProvider != nil:
		user, password = o.CredentialsProvider()
		return user, password, nil
	default:
		return o.Username, o.Password, nil
	}
}

// Do sends a command and waits for its answer, which is a status or a number.
func (c *Conn) Do(words ...string) (string, error) {
	if err := c.Send(words...); err != nil {
		return "", err
	}
	c.ExpectAnswer()
	line, err := c.readLine()
	if err != nil {
		return "", err
	}
	return string(line[1:]), nil
}

// ExpectAnswer bounds the time of the next reads.
func (c *Conn) ExpectAnswer() { _ = c.conn.SetReadDeadline(deadline(c.options.ReadTimeout)) }

// deadline returns the end of a timeout; 0 is none.
func deadline(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// Send sends a command and does not wait for its answer.
func (c *Conn) Send(words ...string) error {
	text := AppendCommand(nil, len(words))
	for _, w := range words {
		text = AppendWord(text, w)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Write(text)
}

// Write writes commands. An error closes the connection: half a command may have gone out.
func (c *Conn) Write(text []byte) error {
	_ = c.conn.SetWriteDeadline(deadline(c.options.WriteTimeout))
	_, err := c.conn.Write(text)
	if err != nil {
		c.Close()
	}
	return err
}

// AppendCommand appends the beginning of a command of so many words.
func AppendCommand(to []byte, words int) []byte {
	return append(strconv.AppendInt(append(to, '*'), int64(words), 10), "\r\n"...)
}

// AppendWord appends a word of a command.
func AppendWord[T string | []byte](to []byte, word T) []byte {
	to = append(strconv.AppendInt(append(to, '$'), int64(len(word)), 10), "\r\n"...)
	return append(append(to, word...), "\r\n"...)
}

// Close closes the connection, also while it is read.
func (c *Conn) Close() { _ = c.conn.Close() }

// HungUp reports whether the server has closed the connection, as far as is known.
func (c *Conn) HungUp() bool { return link.HungUp(c.conn) }

// patient reads from a connection. If nothing comes, it sends a PING, whose answer shows that the
// connection works.
type patient struct{ *Conn }

// Read implements [io.Reader].
func (p patient) Read(b []byte) (int, error) {
	for asked := false; ; asked = true {
		if p.silence > 0 {
			_ = p.conn.SetReadDeadline(time.Now().Add(p.silence / 2))
		}
		n, err := p.conn.Read(b)
		if n > 0 && p.received != nil {
			p.received()
		}
		var timeout net.Error
		if n > 0 || asked || p.silence == 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			return n, err
		}
		if err := p.Send("ping"); err != nil {
			return 0, err
		}
	}
}

// readBulk reads a bulk string of up to most bytes. It discards a longer one, without
// keeping it in memory. The text of the null bulk string is nil.
func (c *Conn) readBulk(most int) (text []byte, tooLarge bool, err error) {
	n, err := c.ReadCount('$')
	if err != nil || n < 0 {
		return nil, false, err
	}
	return c.readText(n, most)
}

// readText reads the n bytes of a bulk string.
func (c *Conn) readText(n, most int) (text []byte, tooLarge bool, err error) {
	if n > most {
		_, err := c.reader.Discard(n)
		return nil, true, errors.Join(err, c.endBulk())
	}
	text = make([]byte, n)
	if _, err := io.ReadFull(c.reader, text); err != nil {
		return nil, false, err
	}
	return text, false, c.endBulk()
}

func (c *Conn) endBulk() error {
	_, err := c.reader.Discard(len("\r\n"))
	return err
}

// ReadCount reads a line that consists of a type mark, such as : or $, and a number.
func (c *Conn) ReadCount(mark byte) (int, error) {
	line, err := c.readLine()
	if err != nil {
		return 0, err
	}
	if line[0] != mark {
		return 0, unexpected(line)
	}
	return count(line)
}

// count returns the number in a line.
func count(line []byte) (int, error) {
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil {
		return 0, unexpected(line)
	}
	return n, nil
}

func unexpected(line []byte) error {
	return fmt.Errorf("redis sent %.40q, which was not expected", line)
}

// readLine reads a line. It returns an error reply of Redis as a [link.ReplyError].
func (c *Conn) readLine() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
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
