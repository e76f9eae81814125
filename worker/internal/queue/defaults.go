package queue

import (
	"context"
	"encoding/json"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Defaults are what the tasks of a queue get that their own options do not set, in place of
// what their definitions say; 0 means that the definition counts. Times are milliseconds.
type Defaults struct {
	MaxAttempts int   `json:"maxAttempts,omitempty"`
	Timeout     int64 `json:"timeoutMs,omitempty"`
	Retention   int64 `json:"retentionMs,omitempty"`
}

// ParseDefaults parses defaults as Redis holds them; what cannot be read is zero.
func ParseDefaults(text string) Defaults {
	var d Defaults
	if json.Unmarshal([]byte(text), &d) != nil || min(int64(d.MaxAttempts), d.Timeout, d.Retention) < 0 {
		return Defaults{}
	}
	return d
}

// SetDefaults sets the defaults of a queue, and has all nodes read them; the zero value removes them.
func (s Store) SetDefaults(ctx context.Context, queue string, d Defaults) error {
	_, _, err := s.setDefaults(ctx, queue, d, "")
	return err
}

// ChangeDefaults changes the defaults of a queue with a function, and returns those that are set then. If somebody else sets them
// meanwhile, change is called again, with those.
func (s Store) ChangeDefaults(ctx context.Context, queue string, change func(*Defaults) error) (Defaults, error) {
	d, err := s.DefaultsOf(ctx, queue)
	if err != nil {
		return Defaults{}, err
	}
	// What was read may be no text of ours: the first try learns it.
	for there := "=" + d.text(); ; {
		if err := change(&d); err != nil {
			return Defaults{}, err
		}
		did, now, err := s.setDefaults(ctx, queue, d, there)
		if err != nil || did {
			return d, err
		}
		d, there = ParseDefaults(now), "="+now
	}
}

// setDefaults sets defaults if those that are there are as expected: "=" and a text, or "" for any. It
// returns whether it has, and what is there now.
func (s Store) setDefaults(ctx context.Context, queue string, d Defaults, expected string) (did bool, there string, err error) {
	reply, err := s.call(ctx, defaultsScript, queue, d.text(), expected)
	if err == nil {
		err = reply.Scan(&did, &there)
	}
	return did, there, err
}

// text returns the defaults as Redis holds them, "" for none.
func (d Defaults) text() string {
	if d == (Defaults{}) {
		return ""
	}
	text, _ := json.Marshal(d) // numbers: it cannot fail
	return string(text)
}

// DefaultsOf returns the defaults of a queue.
func (s Store) DefaultsOf(ctx context.Context, queue string) (Defaults, error) {
	all, err := s.redis.HMGet(ctx, s.keys.QueueDefaults(), queue).Result()
	if err != nil {
		return Defaults{}, link.Explain(err)
	}
	text, _ := all[0].(string)
	return ParseDefaults(text), nil
}

// AllDefaults returns the defaults of all queues that have some.
func (s Store) AllDefaults(ctx context.Context) (map[string]Defaults, error) {
	texts, err := s.redis.HGetAll(ctx, s.keys.QueueDefaults()).Result()
	if err != nil {
		return nil, link.Explain(err)
	}
	all := make(map[string]Defaults, len(texts))
	for queue, text := range texts {
		all[queue] = ParseDefaults(text)
	}
	return all, nil
}
