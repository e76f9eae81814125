package rpcregistry

import (
	"reflect"
	"slices"
	"strings"
)

// describe returns the JSON form of a type for people to read:
// {to: string, after?: number, tags: [string]}. A ? marks members that may be left out.
// Inside itself a recursive type is given by its name.
func describe(t reflect.Type) string {
	var d description
	d.write(t)
	return d.String()
}

type description struct {
	strings.Builder

	inside []reflect.Type // the types that are being written, to find recursion // the types that are being written, to find recursion
}

func (d *description) write(t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch kind := t.Kind(); {
	case t == rawMessage, kind == reflect.Interface, kind == reflect.Map && t.Key().Kind() != reflect.String:
		d.WriteString("any")
	case t.PkgPath() == "time" && t.Name() == "Time":
		d.WriteString("time")
	case reflect.PointerTo(t).Implements(unmarshaler), slices.Contains(d.inside, t):
		d.WriteString(t.Name())
	case reflect.PointerTo(t).Implements(textUnmarshaler), kind == reflect.String:
		d.WriteString("string")
	case kind == reflect.Bool:
		d.WriteString("boolean")
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		d.WriteString("base64")
	case kind == reflect.Slice, kind == reflect.Array, kind == reflect.Map, kind == reflect.Struct:
		d.inside = append(d.inside, t)
		d.writeParts(t)
		d.inside = d.inside[:len(d.inside)-1]
	default:
		d.WriteString("number")
	}
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
		d.write(f.Type)
	}
	d.WriteByte('}')
}
