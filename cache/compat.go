package cache

import (
	"encoding/json"
	"time"
)

// compatEntry is an entry in the layout of the original Stellar and of actionhero. Members
// may be missing: both programs omit an undefined value. When the entry expires is told by
// lua/load.lua.
type compatEntry struct {
	Value   json.RawMessage `json:"value"`
	Created *float64        `json:"createdAt"`
	Read    *float64        `json:"readAt"`
}

// parseCompat reads an entry in the layout of the compatibility presets.
func parseCompat(key, raw string) (Entry, error) {
	var in *compatEntry
	if err := json.Unmarshal([]byte(raw), &in); err != nil || in == nil {
		return Entry{}, ErrMalformed
	}
	if in.Value == nil {
		in.Value = json.RawMessage("null")
	}
	return Entry{Key: key, Value: in.Value, Created: fromMember(in.Created), Read: fromMember(in.Read)}, nil
}

func fromMember(ms *float64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return fromMillis(int64(*ms))
}

// fromMillis returns the zero time for 0 and less, which mean never.
func fromMillis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// parseItem reads an item of a list.
func (c *Cache) parseItem(raw string) (json.RawMessage, error) {
	if c.preset == Native {
		return json.RawMessage(raw), nil
	}
	var in *struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(raw), &in); err != nil || in == nil {
		return nil, ErrMalformed
	}
	if in.Data == nil {
		in.Data = json.RawMessage("null")
	}
	return in.Data, nil
}

// parse reads an entry in the layout of the cache's preset.
func (c *Cache) parse(key, raw string) (Entry, error) {
	if c.preset == Native {
		return parseEntry(key, raw)
	}
	return parseCompat(key, raw)
}
