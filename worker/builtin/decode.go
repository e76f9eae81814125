package builtin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/stellarfw/stellar/cache"
)

// decode fills v with the arguments of a built-in method. It differs from encoding/json in
// three things: a time.Duration is a whole number of milliseconds; a time.Time is
// milliseconds since 1970 or a text in RFC 3339; a member that is no field is an error.
//
// So the option types of the Go API serve as the arguments of methods: each option is
// declared once.
func decode(text []byte, v any) error {
	to := reflect.ValueOf(v).Elem()
	wire := to
	if t := wireType(to.Type()); t != to.Type() {
		wire = reflect.New(t).Elem()
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(wire.Addr().Interface()); err != nil {
		return err
	}
	if wire != to {
		assign(to, wire)
	}
	return nil
}

// wireTypes caches wireType by reflect.Type.
var wireTypes sync.Map //nolint:gochecknoglobals // a cache of values that depend only on their key

// wireType returns the type into which encoding/json decodes a t. It replaces times and
// durations, also behind pointers and in the fields of a struct, by types of this file; a type without them is
// its own wireType.
func wireType(t reflect.Type) reflect.Type {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return reflect.TypeFor[milliseconds]()
	case t == reflect.TypeFor[time.Time]():
		return reflect.TypeFor[timestamp]()
	case t.Kind() == reflect.Pointer:
		if of := wireType(t.Elem()); of != t.Elem() {
			return reflect.PointerTo(of)
		}
		return t
	case t.Kind() != reflect.Struct, reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return t
	}
	if known, ok := wireTypes.Load(t); ok {
		return known.(reflect.Type) //nolint:forcetypeassert // nothing else is stored
	}
	wire, fields := t, []reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue // the fields of an embedded struct follow
		}
		of := wireType(f.Type)
		if of != f.Type {
			wire = nil
		}
		fields = append(fields, reflect.StructField{Name: f.Name, Type: of, Tag: f.Tag})
	}
	if wire == nil {
		wire = reflect.StructOf(fields)
	}
	wireTypes.Store(t, wire)
	return wire
}

// assign sets to, a value of some type, to wire, a value of its wireType.
func assign(to, wire reflect.Value) {
	switch {
	case wire.Kind() == reflect.Pointer && wire.Type() != to.Type():
		if wire.IsNil() {
			to.SetZero()
			return
		}
		to.Set(reflect.New(to.Type().Elem()))
		assign(to.Elem(), wire.Elem())
		return
	case wire.Kind() != reflect.Struct || wire.CanConvert(to.Type()):
		to.Set(wire.Convert(to.Type()))
		return
	}
	for i := range wire.NumField() {
		assign(to.FieldByName(wire.Type().Field(i).Name), wire.Field(i))
	}
}

// milliseconds is a time.Duration in JSON.
type milliseconds time.Duration

// JSONForm implements rpcregistry.Formed.
func (milliseconds) JSONForm() any { return "milliseconds" }

// UnmarshalJSON implements json.Unmarshaler. It refuses numbers that would overflow
// time.Duration.
func (m *milliseconds) UnmarshalJSON(text []byte) error {
	var n int64
	if err := json.Unmarshal(text, &n); err != nil {
		return fmt.Errorf("%.60s is no duration: use whole milliseconds", text)
	}
	if n < 0 || n > cache.MaxTTL.Milliseconds() {
		return fmt.Errorf("a duration of %d ms: use 0 to %d", n, cache.MaxTTL.Milliseconds())
	}
	*m = milliseconds(time.Duration(n) * time.Millisecond)
	return nil
}

// timestamp is a time.Time in JSON.
type timestamp time.Time

// JSONForm implements rpcregistry.Formed.
func (timestamp) JSONForm() any { return "time" }

// UnmarshalJSON implements json.Unmarshaler. 0 is the zero time.
func (t *timestamp) UnmarshalJSON(text []byte) error {
	var ms int64
	if json.Unmarshal(text, &ms) == nil {
		if *t = (timestamp{}); ms != 0 {
			*t = timestamp(time.UnixMilli(ms))
		}
		return nil
	}
	var s string
	var at time.Time
	err := json.Unmarshal(text, &s)
	if err == nil {
		at, err = time.Parse(time.RFC3339, s)
	}
	if err == nil && at.IsZero() { // it is set, and stands for none otherwise
		at = at.Add(1)
	}
	if err != nil {
		return fmt.Errorf("%.60s is no time: use milliseconds since 1970, or a text such as 2027-01-31T08:00:00Z", text)
	}
	*t = timestamp(at)
	return nil
}
