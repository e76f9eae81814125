package link

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// ErrMalformedReply is the error for a script's reply with another shape than the caller
// expects. The script has run.
var ErrMalformedReply error = malformedError{}

type malformedError struct{}

func (malformedError) Error() string { return "a script's reply is malformed" }

// RedisError implements redis.Error: Redis has answered.
func (malformedError) RedisError() {}

// RefusedError is the error of [Script.Call] when the script refused to do its work. The
// script has run.
type RefusedError struct {
	// Word says why, in capitals: "LOCKED".
	Word string
	// Details are the fields after the word.
	Details Reply
}

// Error implements error.
func (e *RefusedError) Error() string { return "the script refused: " + e.Word }

// RedisError implements redis.Error: Redis has answered.
func (e *RefusedError) RedisError() {}

// WordOf returns the word with which a script refused ([RefusedError]), or "" for any
// other error.
func WordOf(err error) string {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Word
	}
	return ""
}

// Reply is the result of a script: fields, or nothing.
type Reply struct {
	fields []any
	bare   any // the only field, where fields is nil
}

// ReplyOf reads the reply to a [Script.Run] in a pipeline. Its errors are those of
// [Script.Call].
func ReplyOf(cmd *redis.Cmd) (Reply, error) {
	value, err := cmd.Result()
	if err != nil {
		return Reply{}, replyError(err)
	}
	fields, isTable := value.([]any)
	if !isTable {
		return Reply{bare: value}, nil
	}
	if len(fields) == 0 {
		return Reply{}, fmt.Errorf("%w: it is empty", ErrMalformedReply)
	}
	word, isText := fields[0].(string)
	if !isText {
		return Reply{}, fmt.Errorf("%w: it begins with a %T instead of a word", ErrMalformedReply, fields[0])
	}
	switch details := (Reply{fields: fields[1:]}); word {
	case "OK":
		return details, nil
	case "WRONGTYPE":
		e := &WrongTypeError{}
		e.Key, _ = details.field(0).(string)
		e.Type, _ = details.field(1).(string)
		return Reply{}, e
	default:
		return Reply{}, &RefusedError{Word: word, Details: details}
	}
}

// replyError returns the error of a script that Redis reports as failed.
func replyError(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if wrong, ok := errors.AsType[*WrongTypeError](err); ok {
		return wrong
	}
	if saysWrongType(err) {
		return &WrongTypeError{}
	}
	return Explain(err)
}

// ReplyTo returns the reply of one field, such as a part of a reply that answers several
// callers.
func ReplyTo(field any) Reply { return Reply{bare: field} }

// IsNil reports whether the script returned nothing.
func (r Reply) IsNil() bool { return r.fields == nil && r.bare == nil }

// Len returns the number of fields.
func (r Reply) Len() int {
	switch {
	case r.fields != nil:
		return len(r.fields)
	case r.bare != nil:
		return 1
	default:
		return 0
	}
}

// field returns the i-th field, nil where there is none.
func (r Reply) field(i int) any {
	switch {
	case r.fields == nil && i == 0:
		return r.bare
	case i < len(r.fields):
		return r.fields[i]
	default:
		return nil
	}
}

// From returns the fields from the i-th on; nothing where there are none.
func (r Reply) From(i int) Reply {
	if r.fields == nil && i == 0 {
		return r
	}
	return Reply{fields: r.fields[min(i, len(r.fields)):]}
}

// Row returns the i-th field as a reply of its own: the members of a table, or a single
// value. The reply is nil if the field is nil or missing.
func (r Reply) Row(i int) Reply {
	field := r.field(i)
	if fields, isTable := field.([]any); isTable {
		return Reply{fields: fields}
	}
	return Reply{bare: field}
}

// Scan stores all fields, in their order, where dest points: *string, *[]string
// (a table of texts), *[]any (a table as it came), *int, *int64 (also from
// digits), or *bool (1 and '1' are true; 0, '0' and the empty text are false).
// The error is an [ErrMalformedReply] when there are more or fewer fields, or
// when one is of another type.
func (r Reply) Scan(dest ...any) error {
	if r.Len() != len(dest) {
		return fmt.Errorf("%w: it has %d fields instead of %d", ErrMalformedReply, r.Len(), len(dest))
	}
	for i, to := range dest {
		field, ok := r.field(i), false
		switch to := to.(type) {
		case *string:
			*to, ok = field.(string)
		case *[]string:
			*to, ok = texts(field)
		case *[]any:
			*to, ok = field.([]any)
		case *int64:
			*to, ok = whole(field)
		case *int:
			var n int64
			n, ok = whole(field)
			*to = int(n)
		case *bool:
			*to, ok = truth(field)
		}
		if !ok {
			return fmt.Errorf("%w: its field %d is a %T", ErrMalformedReply, i+1, field)
		}
	}
	return nil
}

// Texts returns all fields as texts. The error is an [ErrMalformedReply] when a field is
// not a text.
func (r Reply) Texts() ([]string, error) {
	if r.fields == nil && r.bare != nil {
		return nil, fmt.Errorf("%w: it is a %T instead of a table", ErrMalformedReply, r.bare)
	}
	out, ok := texts(r.fields)
	if !ok {
		return nil, fmt.Errorf("%w: not all of its fields are texts", ErrMalformedReply)
	}
	return out, nil
}

// Refusals reads fields that are alternately a position, from 1, and a word: which items
// of a call the script refused, and why. The map is nil if it refused none.
func (r Reply) Refusals() (map[int]string, error) {
	var refused map[int]string
	for i := 0; i < r.Len(); i += 2 {
		position, isWhole := r.field(i).(int64)
		word, isText := r.field(i + 1).(string)
		if !isWhole || !isText {
			return nil, fmt.Errorf("%w: its fields %d and %d are a %T and a %T instead of a position and a word",
				ErrMalformedReply, i+1, i+2, r.field(i), r.field(i+1))
		}
		if refused == nil {
			refused = map[int]string{}
		}
		refused[int(position)] = word
	}
	return refused, nil
}

func texts(field any) ([]string, bool) {
	items, ok := field.([]any)
	out := make([]string, len(items))
	for i, item := range items {
		var isText bool
		out[i], isText = item.(string)
		ok = ok && isText
	}
	return out, ok
}

func whole(field any) (int64, bool) {
	switch field := field.(type) {
	case int64:
		return field, true
	case string:
		n, err := strconv.ParseInt(field, 10, 64)
		return n, err == nil
	default:
		return 0, false
	}
}

func truth(field any) (is, ok bool) {
	switch field {
	case int64(1), "1":
		return true, true
	case int64(0), "0", "":
		return false, true
	default:
		return false, false
	}
}
