package service

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Words of the protocol, as in sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"
)

// Status is the line that "systemctl status" shows.
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// notifyTime is how long the service manager may take to take a message.
const notifyTime = time.Second

// Notifier tells a service manager such as systemd how the program is. The zero
// value tells nobody.
type Notifier struct{ addr *net.UnixAddr }

// NewNotifier returns a notifier for the socket that NOTIFY_SOCKET names: a path,
// or an abstract name that begins with @. An empty one is nobody.
func NewNotifier(socket string) (Notifier, error) {
	switch {
	case socket == "":
		return Notifier{}, nil
	case socket[0] != '/' && socket[0] != '@':
		return Notifier{}, fmt.Errorf("service manager's socket %q: it is neither a path nor an abstract name", socket)
	}
	return Notifier{&net.UnixAddr{Name: socket, Net: "unixgram"}}, nil
}

// Active reports whether there is somebody to tell.
func (n Notifier) Active() bool { return n.addr != nil }

// Send tells all of that in one message.
func (n Notifier) Send(words ...string) error {
	if !n.Active() {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(notifyTime))
	_, err = c.Write([]byte(strings.Join(words, "\n")))
	if err = errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

// Watchdog returns how often the service manager wants to hear from the process
// with that number, from WATCHDOG_USEC and WATCHDOG_PID; 0 for never. Half of it
// is the time to send [Alive] in.
func Watchdog(usec, forPID string, pid int) (time.Duration, error) {
	if usec == "" || forPID != "" && forPID != strconv.Itoa(pid) {
		return 0, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(maxWatchdog/time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC: %q is not a number of microseconds", usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

const maxWatchdog = 1000 * time.Hour
