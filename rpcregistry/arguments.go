package rpcregistry

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/stellarfw/stellar/redisbus/link"
)

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshaler       = reflect.TypeFor[json.Marshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
)

// unmarshalFunc decodes JSON into v, as json.Unmarshal and unmarshalStrict do.
type unmarshalFunc = func(text []byte, v any) error

// unmarshalStrict is json.Unmarshal, but unknown members at any depth are an error.
func unmarshalStrict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// decoder returns a function that decodes arguments into a Req, as [Handle] describes.
func decoder[Req any](unmarshal unmarshalFunc) func(args json.RawMessage, req *Req) error {
	// The layout is made for the first list: most methods of most nodes never get one.
	var known atomic.Pointer[layout]
	return func(args json.RawMessage, req *Req) error {
		if isAbsent(args) {
			return nil
		}
		if args[0] == '[' {
			l := known.Load()
			if l == nil {
				l = layoutOf(reflect.TypeFor[Req](), unmarshal)
				known.Store(l)
			}
			if l.decode != nil {
				return l.decode(l, args, req)
			}
		}
		if raw, ok := any(req).(*json.RawMessage); ok {
			*raw = args // no copy: args is valid JSON and belongs to this call alone
			return nil
		}
		return unmarshal(args, req)
	}
}

// layout says how a list of arguments is decoded into a type.
type layout struct {
	// decode is nil if the type is decoded from the list as a whole.
	decode    func(l *layout, args json.RawMessage, req any) error
	unmarshal unmarshalFunc // decodes an element of the list
	fields    [][]int       // indexes of a struct's fields, see reflect.Value.FieldByIndex
	named     bool          // a list of one object has the struct's fields by name
}

func layoutOf(t reflect.Type, unmarshal unmarshalFunc) *layout {
	for t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	switch {
	case takesLists(t):
		return &layout{}
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textUnmarshaler):
		fields := fields(t)
		named := len(fields) == 0 || !holdsObjects(t.FieldByIndex(fields[0]).Type)
		return &layout{decode: (*layout).byPosition, unmarshal: unmarshal, fields: fields, named: named}
	default:
		return &layout{decode: (*layout).single, unmarshal: unmarshal}
	}
}

// takesLists reports whether a value of the type may itself be a list in JSON.
func takesLists(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Interface:
		return true
	default:
		return reflect.PointerTo(t).Implements(unmarshaler)
	}
}

func isAbsent(args json.RawMessage) bool {
	return len(args) == 0 || string(args) == "null"
}

func elements(args json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	err := json.Unmarshal(args, &list)
	return list, err
}

// fields returns the indexes of the fields that encoding/json would fill.
func fields(t reflect.Type) (all [][]int) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inlined := f.Anonymous && name == "" && kindOf(f.Type) == reflect.Struct
		if f.IsExported() && !inlined && f.Tag.Get("json") != "-" {
			all = append(all, f.Index)
		}
	}
	return all
}

func kindOf(t reflect.Type) reflect.Kind {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind()
}

// holdsObjects reports whether a JSON object can be decoded into the type.
func holdsObjects(t reflect.Type) bool {
	t = pointedTo(t)
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Interface:
		return !reflect.PointerTo(t).Implements(textUnmarshaler)
	default:
		return reflect.PointerTo(t).Implements(unmarshaler)
	}
}

// single decodes a list of one argument.
func (l *layout) single(args json.RawMessage, req any) error {
	list, err := elements(args)
	if err != nil {
		return err
	}
	switch {
	case len(list) == 0:
		return nil
	case len(list) > 1:
		return fmt.Errorf("%d arguments where one is expected", len(list))
	default:
		return l.unmarshal(list[0], req)
	}
}

// byPosition decodes a list into the fields of a struct.
func (l *layout) byPosition(args json.RawMessage, req any) error {
	list, err := elements(args)
	if err != nil {
		return err
	}
	if l.named && len(list) == 1 && bytes.HasPrefix(list[0], []byte{'{'}) {
		return l.unmarshal(list[0], req)
	}
	if len(list) > len(l.fields) {
		return fmt.Errorf("%s where at most %d are expected", link.Count(len(list), "argument"), len(l.fields))
	}
	v := reflect.ValueOf(req).Elem()
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	for i, element := range list {
		field, err := fieldOf(v, l.fields[i])
		if err != nil {
			return err
		}
		if err := l.unmarshal(element, field.Addr().Interface()); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}

// fieldOf returns the field of v with that index. It allocates the embedded structs that
// are nil pointers.
func fieldOf(v reflect.Value, index []int) (reflect.Value, error) {
	for _, i := range index[:len(index)-1] {
		v = v.Field(i)
		if v.Kind() != reflect.Pointer {
			continue
		}
		if v.IsNil() {
			if !v.CanSet() {
				return v, fmt.Errorf("%s is embedded by an unexported pointer", v.Type())
			}
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v.Field(index[len(index)-1]), nil
}
