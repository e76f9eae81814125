package rpcregistry

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Formed is implemented by types with a JSON form of their own (json.Unmarshaler, json.Marshaler), so that
// api.methods can say what that is. JSONForm returns a value of a type that encoding/json reads and writes in
// the same form, or a string, which is a word for it, such as "milliseconds". It is asked of a zero value.
type Formed interface{ JSONForm() any }

// describe returns the JSON form of a type for people to read:
// {to: string, after?: number, tags: [string]}. A ? marks members that may be left out, {*: T} is an object
// with members of any name, {…} something inside it with too much to show. Inside itself a recursive type is
// given by its name.
func describe(t reflect.Type) string {
	var d description
	d.write(t)
	return d.String()
}

// longest is how long a description grows before what is inside of it is left out: types that are not
// recursive, but have each other in many places, would have one without end.
const longest = 16 << 10

type description struct {
	strings.Builder

	inside []reflect.Type // the types that are being written, to find recursion
}

func (d *description) write(t reflect.Type) {
	t = pointedTo(t)
	if of, ok := reflect.TypeAssert[Formed](reflect.New(t)); ok {
		form := of.JSONForm()
		if word, ok := form.(string); ok {
			d.WriteString(word)
			return
		}
		t = pointedTo(reflect.TypeOf(form))
	}
	switch word := wordOf(t); {
	case word != "":
		d.WriteString(word)
	case slices.Contains(d.inside, t):
		d.WriteString(nameOf(t, "{…}"))
	case d.Len() > longest:
		d.WriteString("{…}")
	default:
		d.inside = append(d.inside, t)
		d.writeParts(t)
		d.inside = d.inside[:len(d.inside)-1]
	}
}

func pointedTo(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// wordOf returns the word for a type without parts, "" for others.
func wordOf(t reflect.Type) string {
	is := func(interfaces ...reflect.Type) bool {
		return slices.ContainsFunc(interfaces, func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) })
	}
	switch kind := t.Kind(); {
	case t == rawMessage, kind == reflect.Interface:
		return "any"
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[json.Number]():
		return "number"
	case is(unmarshaler, marshaler):
		return nameOf(t, "any")
	case is(textUnmarshaler, textMarshaler), kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "boolean"
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "base64"
	case kind == reflect.Slice, kind == reflect.Array, kind == reflect.Map, kind == reflect.Struct:
		return ""
	case kind >= reflect.Int && kind <= reflect.Float64:
		return "number"
	default:
		return "any" // encoding/json refuses it
	}
}

// nameOf returns the name of a type, or another word if it has none.
func nameOf(t reflect.Type, other string) string {
	if name := t.Name(); name != "" {
		return name
	}
	return other
}

func (d *description) writeParts(t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		d.writeStruct(t)
	case reflect.Map:
		d.WriteString("{*: ")
		d.write(t.Elem())
		d.WriteByte('}')
	default:
		d.WriteByte('[')
		d.write(t.Elem())
		d.WriteByte(']')
	}
}

func (d *description) writeStruct(t reflect.Type) {
	d.WriteByte('{')
	for i, index := range fields(t) {
		if i > 0 {
			d.WriteString(", ")
		}
		f := t.FieldByIndex(index)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		d.WriteString(name)
		if strings.Contains(options, "omit") || f.Type.Kind() == reflect.Pointer {
			d.WriteByte('?')
		}
		d.WriteString(": ")
		if word := wordOf(pointedTo(f.Type)); quotes(options) && (word == "number" || word == "boolean") {
			d.WriteString("string")
			continue
		}
		d.write(f.Type)
	}
	d.WriteByte('}')
}

// quotes reports whether the options of a json tag have numbers in quotes.
func quotes(options string) bool { return slices.Contains(strings.Split(options, ","), "string") }
