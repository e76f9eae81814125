package rpcregistry

import (
	"reflect"
	"strings"
)

// deepest is how far a type is described; a type that contains itself ends there.
const deepest = 4

// describe returns the JSON form of a type for people to read:
// {to: string, after?: number, tags: [string]}. A ? marks what may be left out.
func describe(t reflect.Type) string {
	var b strings.Builder
	write(&b, t, 0)
	return b.String()
}

func write(b *strings.Builder, t reflect.Type, depth int) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	marshaler := t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
	switch kind := t.Kind(); {
	case t == rawMessage, kind == reflect.Interface, depth >= deepest, kind == reflect.Map && t.Key().Kind() != reflect.String:
		b.WriteString("any")
	case t.PkgPath() == "time" && t.Name() == "Time":
		b.WriteString("time")
	case marshaler:
		b.WriteString(t.Name())
	case reflect.PointerTo(t).Implements(textUnmarshaler), kind == reflect.String:
		b.WriteString("string")
	case kind == reflect.Bool:
		b.WriteString("boolean")
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		b.WriteString("base64")
	case kind == reflect.Slice || kind == reflect.Array:
		b.WriteByte('[')
		write(b, t.Elem(), depth+1)
		b.WriteByte(']')
	case kind == reflect.Map:
		b.WriteString("{*: ")
		write(b, t.Elem(), depth+1)
		b.WriteByte('}')
	case kind == reflect.Struct:
		writeStruct(b, t, depth)
	default:
		b.WriteString("number")
	}
}

func writeStruct(b *strings.Builder, t reflect.Type, depth int) {
	b.WriteByte('{')
	for i, index := range fields(t) {
		if i > 0 {
			b.WriteString(", ")
		}
		f := t.FieldByIndex(index)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		b.WriteString(name)
		if strings.Contains(options, "omit") || f.Type.Kind() == reflect.Pointer {
			b.WriteByte('?')
		}
		b.WriteString(": ")
		write(b, f.Type, depth+1)
	}
	b.WriteByte('}')
}
