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

// respConn is a connection to Redis that is used without the client library.
type respConn struct {
	conn    net.Conn
	reader  *bufio.Reader
	options *redis.Options

	mu sync.Mutex // orders the writes of send
}

// dial connects to the server that the options name, authenticates and names the
// connection.
func dial(ctx context.Context, o *redis.Options) (*respConn, error) {
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	c := &respConn{conn: conn, reader: bufio.NewReaderSize(conn, o.ReadBufferSize), options: o}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	if err := c.handshake(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// handshake authenticates, names the connection and waits for the answers.
func (c *respConn) handshake() error {
	o := c.options
	_ = c.conn.SetReadDeadline(time.Now().Add(o.ReadTimeout))
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
	for _, words := range commands {
		if err := c.send(words...); err != nil {
			return err
		}
		if _, err := c.readLine(); err != nil {
			return err
		}
	}
	return c.conn.SetReadDeadline(time.Time{})
}

func (c *respConn) send(words ...string) error {
	text := appendCommand(nil, len(words))
	for _, w := range words {
		text = appendWord(text, w)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(text)
}

func (c *respConn) write(text []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.options.WriteTimeout))
	_, err := c.conn.Write(text)
	return err
}

// appendCommand appends the beginning of a command of so many words.
func appendCommand(to []byte, words int) []byte {
	return append(strconv.AppendInt(append(to, '*'), int64(words), 10), "\r\n"...)
}

func appendWord[T string | []byte](to []byte, word T) []byte {
	to = append(strconv.AppendInt(append(to, '$'), int64(len(word)), 10), "\r\n"...)
	return append(append(to, word...), "\r\n"...)
}

func (c *respConn) close() { _ = c.conn.Close() }

func (c *respConn) discardBulks(n int) error {
	for range n {
		if _, err := c.readBulk(); err != nil {
			return err
		}
	}
	return nil
}

// readName reads a bulk string that intern most often knows, which then is not copied.
func (c *respConn) readName(intern func([]byte) string) (string, error) {
	n, err := c.readCount('$')
	if err != nil || n < 0 {
		return "", err
	}
	if n+len("\r\n") > c.reader.Size() {
		text, err := c.readText(n)
		return string(text), err
	}
	text, err := c.reader.Peek(n + len("\r\n"))
	if err != nil {
		return "", err
	}
	name := intern(text[:n])
	_, err = c.reader.Discard(len(text))
	return name, err
}

// readBulk reads a bulk string. If the string is longer than [MaxMessage], it returns the
// first MaxMessage+1 bytes and discards the rest: the message will be dropped.
func (c *respConn) readBulk() ([]byte, error) {
	n, err := c.readCount('$')
	if err != nil || n < 0 {
		return nil, err
	}
	return c.readText(n)
}

// readText reads the n bytes of a bulk string.
func (c *respConn) readText(n int) ([]byte, error) {
	text := make([]byte, min(n, MaxMessage+1))
	if _, err := io.ReadFull(c.reader, text); err != nil {
		return nil, err
	}
	_, err := c.reader.Discard(n - len(text) + len("\r\n"))
	return text, err
}

// readCount reads a line that consists of a RESP type mark, such as $, and a number.
func (c *respConn) readCount(mark byte) (int, error) {
	line, err := c.readLine()
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
func (c *respConn) readLine() ([]byte, error) {
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
