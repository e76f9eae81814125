package resp

import "sync"

// Kinds of events.
const (
	Message    = "message"
	Subscribed = "subscribe" // Redis has confirmed the subscription of the channel
)

// Event is what Redis sends to a subscriber: a message, or the confirmation of a
// subscription. Other kinds are of no interest; an answer to something else has none.
type Event struct {
	Kind, Channel string
	// Payload is nil if Redis sent none, or one that is TooLarge. A message with several payloads, as
	// Redis itself sends of keys that have changed, comes as an event for each.
	Payload []byte
	// TooLarge: the payload was larger than [Listener].Largest and was discarded unread.
	TooLarge bool
}

// listening is the state of a connection whose events are read.
type listening struct {
	largest int

	known sync.Mutex // guards channels
	// channels are the subscribed ones: a message's channel is looked up here instead of being
	// copied.
	channels map[string]string

	more int    // payloads to come of the message that is being read
	of   string // its channel
}

// Subscribe asks for channels; the confirmations come among the events.
func (c *Conn) Subscribe(channels ...string) error {
	c.known.Lock()
	for _, channel := range channels {
		c.channels[channel] = channel
	}
	c.known.Unlock()
	return c.Send(append([]string{"subscribe"}, channels...)...)
}

// Unsubscribe asks for channels no more.
func (c *Conn) Unsubscribe(channels ...string) error {
	c.known.Lock()
	for _, channel := range channels {
		delete(c.channels, channel)
	}
	c.known.Unlock()
	return c.Send(append([]string{"unsubscribe"}, channels...)...)
}

// next waits for the next event.
func (c *Conn) next() (Event, error) {
	if c.more > 0 {
		event, err := c.message(c.of)
		c.more--
		return event, err
	}
	n, err := c.readHead()
	if err != nil {
		return Event{}, err
	}
	if n < 3 {
		return Event{}, c.discardBulks(n)
	}
	var event Event
	if event.Kind, err = c.readName(internKind); err != nil {
		return Event{}, err
	}
	if event.Channel, err = c.readName(c.internChannel); err != nil {
		return Event{}, err
	}
	if event.Kind != Message {
		_, err = c.ReadCount(':')
		return event, err
	}
	return c.message(event.Channel)
}

// readHead reads the beginning of an event and returns of how many parts it consists: 0 for a
// status, such as the answer to a PING of a connection without subscriptions.
func (c *Conn) readHead() (int, error) {
	line, err := c.readLine()
	switch {
	case err != nil:
		return 0, err
	case line[0] == '+':
		return 0, nil
	case line[0] == '*':
		return count(line)
	default:
		return 0, unexpected(line)
	}
}

// message reads the payload of a message, or the first of several.
func (c *Conn) message(channel string) (Event, error) {
	line, err := c.readLine()
	if err != nil {
		return Event{}, err
	}
	n, err := count(line)
	switch event := (Event{Kind: Message, Channel: channel}); {
	case err != nil:
		return Event{}, err
	case n < 0:
		return event, nil
	case line[0] == '$':
		event.Payload, event.TooLarge, err = c.readText(n, c.largest)
		return event, err
	case line[0] == '*' && c.more == 0:
		c.more, c.of = n, channel
		return c.next()
	default:
		return Event{}, unexpected(line)
	}
}

func (c *Conn) discardBulks(n int) error {
	for range n {
		if _, _, err := c.readBulk(0); err != nil {
			return err
		}
	}
	return nil
}

// readName reads a bulk string that intern most often knows, which then is not copied.
func (c *Conn) readName(intern func([]byte) string) (string, error) {
	n, err := c.ReadCount('$')
	if err != nil || n < 0 {
		return "", err
	}
	if n+len("\r\n") > c.reader.Size() {
		text, _, err := c.readText(n, c.largest)
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

func internKind(kind []byte) string {
	if string(kind) == Message {
		return Message
	}
	return string(kind)
}

func (c *Conn) internChannel(name []byte) string {
	c.known.Lock()
	defer c.known.Unlock()
	if known, ok := c.channels[string(name)]; ok {
		return known
	}
	return string(name)
}
