package cache

import (
	"crypto/sha1" //nolint:gosec // Redis's sha1hex; nothing rests on its strength
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// compatEntry is an entry in the layout of the original Stellar and of actionhero. Members
// may be missing: actionhero writes no expireTimestamp, and both omit an undefined value.
type compatEntry struct {
	Value   json.RawMessage `json:"value"`
	Expires *float64        `json:"expireTimestamp"`
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
	sum := sha1.Sum(in.Value) //nolint:gosec // cache_unpack in lua/compat.lua computes the same version
	e := Entry{
		Key: key, Value: in.Value, Created: fromMember(in.Created), Read: fromMember(in.Read), Expires: fromMember(in.Expires),
		Version: hex.EncodeToString(sum[:]),
	}
	if in.Created != nil {
		e.Version = strconv.FormatFloat(*in.Created, 'f', 0, 64) + e.Version
	}
	return e, nil
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
