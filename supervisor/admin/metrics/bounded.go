package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// MaxValues is how many values a label has at most, over the life of the process. Further ones count as [Other].
const MaxValues = 200

// Other stands for the values of a label beyond [MaxValues], and for the names of methods that nobody handles.
const Other = "_other"

// limits bound the values of labels, by the label's name.
type limits struct {
	log zerolog.Logger

	mu   sync.Mutex
	seen map[string]map[string]struct{}
}

// fit returns the value, or [Other] if the label has too many.
func (l *limits) fit(label, value string) string {
	if label == "" {
		return value
	}
	value = strings.ToValidUTF8(value, "�")
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen[label]
	if seen == nil {
		seen = map[string]struct{}{}
		l.seen[label] = seen
	}
	if _, known := seen[value]; known {
		return value
	}
	if len(seen) < MaxValues {
		seen[value] = struct{}{}
		return value
	}
	if _, told := seen[Other]; !told {
		seen[Other] = struct{}{}
		l.log.Warn().Str("label", label).Int("values", MaxValues).
			Msg("metrics: a label has too many values: further ones count as _other")
	}
	return Other
}

// key has the values of up to three labels.
type key [3]string

// maxKeys bounds the keys that a table knows: those with values that count as [Other] among them.
const maxKeys = 2000

// children has a T for each combination of the values of labels. To look one up takes no lock.
type children[T any] struct {
	limits *limits
	labels [3]string // "" for none
	make   func(key) *T

	mu    sync.Mutex
	known atomic.Pointer[map[key]*T] // replaced, never changed
	own   map[key]*T                 // by bounded values
}

func newChildren[T any](l *limits, newChild func(key) *T, labels ...string) *children[T] {
	c := &children[T]{limits: l, make: newChild, own: map[key]*T{}}
	copy(c.labels[:], labels)
	c.known.Store(&map[key]*T{})
	return c
}

// of returns the child of some values.
func (c *children[T]) of(values key) *T {
	if child, known := (*c.known.Load())[values]; known {
		return child
	}
	return c.add(values)
}

func (c *children[T]) add(values key) *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	var bounded key
	for i, label := range c.labels {
		bounded[i] = c.limits.fit(label, values[i])
	}
	child := c.own[bounded]
	if child == nil {
		child = c.make(bounded)
		c.own[bounded] = child
	}
	if known := *c.known.Load(); len(known) < maxKeys {
		known = maps.Clone(known)
		for i := range values { // the caller's memory may be a large text
			values[i] = strings.Clone(values[i])
		}
		known[values] = child
		c.known.Store(&known)
	}
	return child
}

// each calls f for each child with its bounded values.
func (c *children[T]) each(f func(values key, child *T)) {
	c.mu.Lock()
	all := maps.Clone(c.own)
	c.mu.Unlock()
	for values, child := range all {
		f(values, child)
	}
}
