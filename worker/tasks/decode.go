package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// decode decodes a payload. Its error is [ErrPayload].
func decode[In any](payload json.RawMessage) (In, error) {
	var in In
	err := json.Unmarshal(payload, &in)
	if err == nil {
		return in, nil
	}
	if member := unfit[In](payload, err); member != "" {
		return in, fmt.Errorf("%w %T: member %q: %w", ErrPayload, in, member, err)
	}
	return in, fmt.Errorf("%w %T: %w", ErrPayload, in, err)
}

// unfit returns the path of the member that does not decode into In, empty if it is the
// payload as a whole. The errors of types that decode themselves, such as time.Time, do not
// name it: then each member is tried alone.
func unfit[In any](payload json.RawMessage, err error) string {
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is && wrong.Field != "" {
		return wrong.Field
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(payload, &members) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		alone, _ := json.Marshal(map[string]json.RawMessage{name: members[name]}) // JSON: it cannot fail
		if json.Unmarshal(alone, new(In)) != nil {
			return name
		}
	}
	return ""
}
