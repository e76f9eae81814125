package service

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Messages to the service manager, as in sd_notify(3).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Alive    = "WATCHDOG=1"

	reloading = "RELOADING=1"
)

// Status returns the message that sets the status line of "systemctl status".
func Status(text string) string { return "STATUS=" + strings.ReplaceAll(text, "\n", " ") }

// notifyTime is the time limit for sending a message to the service manager.
const notifyTime = time.Second

// Notifier sends the program's state to a service manager such as systemd. The zero
// value sends nothing.
type Notifier struct{ addr *net.UnixAddr }

// NewNotifier returns a notifier that sends to the socket, which is the value of
// NOTIFY_SOCKET: an absolute path, or an abstract name that begins with @; any other
// name is an error. An empty socket yields a notifier that sends nothing.
func NewNotifier(socket string) (Notifier, error) {
	switch {
	case socket == "":
		return Notifier{}, nil
	case socket[0] != '/' && socket[0] != '@':
		return Notifier{}, fmt.Errorf("service manager's socket %q: it is neither a path nor an abstract name", socket)
	}
	return Notifier{&net.UnixAddr{Name: socket, Net: "unixgram"}}, nil
}

// Active reports whether the notifier has a service manager to send to.
func (n Notifier) Active() bool { return n.addr != nil }

// Send sends the words to the service manager as one datagram, within one second. It
// does nothing if the notifier is not active.
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

// Watchdog returns the interval within which the service manager expects [Alive] from
// the process pid; 0 if it expects none. usec and forPID are the values of WATCHDOG_USEC
// and WATCHDOG_PID. A program should send [Alive] every half interval. An invalid usec
// is an error.
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
