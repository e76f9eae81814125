package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Text returns the text of a raw JSON string, and false for any other value.
func Text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	var text string
	return text, json.Unmarshal(value, &text) == nil
}

// Plain returns the bytes between the quotes of a raw JSON string without escapes, without
// copying them, and nil for any other value.
func Plain(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil
	}
	return value[1 : len(value)-1]
}

// Uint returns the value of a raw JSON number, and false if it is negative, not whole or
// larger than 64 bits.
func Uint(value []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(value), 10, 64)
	return n, err == nil
}

// AppendText appends text as a JSON string.
func AppendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, _ := Encode(text) // a string always encodes
			return append(to, quoted...)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

// AppendTexts appends an object of strings, its members ordered by name.
func AppendTexts(to []byte, texts map[string]string) []byte {
	separator := byte('{')
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		to = append(AppendText(append(to, separator), name), ':')
		to = AppendText(to, texts[name])
		separator = ','
	}
	if len(texts) == 0 {
		to = append(to, '{')
	}
	return append(to, '}')
}

// Texts returns the members of a raw JSON object of strings, and false for any other value
// and for names with escapes. The value must have been checked, such as by [Members].
func Texts(value []byte) (map[string]string, bool) {
	texts, ok := map[string]string{}, true
	err := Again(value, func(key, value []byte) {
		text, isText := Text(value)
		ok = ok && isText && bytes.IndexByte(key, '\\') < 0
		texts[string(key)] = text
	})
	return texts, ok && err == nil
}

// Encode returns v as JSON, like json.Marshal but with <, > and & as they are.
// A json.RawMessage is returned as it is, without a copy.
func Encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	e, _ := encoders.Get().(*encoder)
	e.buffer.Reset()
	if err := e.json.Encode(v); err != nil {
		return nil, err // e remembers it
	}
	text := bytes.Clone(bytes.TrimSuffix(e.buffer.Bytes(), []byte{'\n'}))
	if e.buffer.Cap() <= maxSpare {
		encoders.Put(e)
	}
	return text, nil
}

// maxSpare is the size of the largest buffer that is kept for further encodings, in bytes.
const maxSpare = 64 << 10

// encoder is what an encoding needs beside its result.
type encoder struct {
	json   *json.Encoder
	buffer bytes.Buffer
}

var encoders = sync.Pool{New: func() any { //nolint:gochecknoglobals // memory alone, no state
	e := &encoder{}
	e.json = json.NewEncoder(&e.buffer)
	e.json.SetEscapeHTML(false)
	return e
}}
