package cache

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/stellarfw/stellar/redisbus/link"
)

// listStep is how many items of a list share a line.
const listStep = 500

// Progress is how far an export or import has come.
type Progress struct {
	Entries int // written to the file or to the cache; a part of a list counts as one
	Skipped int // expired, locked by somebody, malformed, or there already
	Bytes   int64
}

// record is one line of an export. A value has Value, a list has Items and how
// many came before. A key that is not UTF-8 is in Key64.
type record struct {
	Key     string            `json:"key,omitempty"`
	Key64   []byte            `json:"key64,omitempty"`
	Value   json.RawMessage   `json:"value,omitempty"`
	Items   []json.RawMessage `json:"items,omitempty"`
	Before  int64             `json:"before,omitempty"`
	Created int64             `json:"createdAt,omitempty"`
	Read    int64             `json:"readAt,omitempty"`
	Expires int64             `json:"expiresAt,omitempty"`
}

func (r *record) setKey(key string) {
	if utf8.ValidString(key) {
		r.Key = key
	} else {
		r.Key64 = []byte(key)
	}
}

func (r *record) key() string {
	if len(r.Key64) > 0 {
		return string(r.Key64)
	}
	return r.Key
}

// Export writes the entries and lists that match a glob pattern ("*" for all) to
// w, a JSON object on each line, with their times in milliseconds on Redis's
// clock. Each is exported as it is at its moment, without the white space between
// its JSON's tokens; reads are not recorded. report, which may be nil, is called now and then, and at the end.
func (c *Cache) Export(ctx context.Context, w io.Writer, glob string, report func(Progress)) error {
	x := &export{cache: c, out: bufio.NewWriter(w), report: report}
	for keys, err := range c.scan(ctx, c.names.cachePrefix, glob) {
		for len(keys) > 0 && err == nil {
			step := keys[:min(clearStep, len(keys))]
			keys = keys[len(step):]
			err = x.entries(ctx, step)
		}
		if err != nil {
			return failed("export", glob, err)
		}
	}
	if err := x.out.Flush(); err != nil {
		return fmt.Errorf("cache: export: %w", err)
	}
	x.tell()
	return nil
}

type export struct {
	cache  *Cache
	out    *bufio.Writer
	done   Progress
	report func(Progress)
}

func (x *export) tell() {
	if x.report != nil {
		x.report(x.done)
	}
}

func (x *export) entries(ctx context.Context, keys []string) error {
	c := x.cache
	var b bulk
	for _, key := range keys { // without the locks of a compatibility preset: they do not hide entries from a backup
		b.add([]string{c.names.entry(key)}, []any{0, "0", "0"})
	}
	for i, reply := range c.bulk(ctx, c.scripts.load, b) {
		e, err := c.reply(keys[i], reply)
		switch {
		case err == nil:
			r := record{Value: e.Value, Created: millis(e.Created), Read: millis(e.Read), Expires: millis(e.Expires)}
			r.setKey(keys[i])
			err = x.write(r)
		case errors.Is(err, ErrWrongType):
			err = x.list(ctx, keys[i])
		case errors.Is(err, ErrMalformed):
			x.done.Skipped++
			err = nil
		case errors.Is(err, ErrNotFound): // gone since the scan
			err = nil
		}
		if err != nil {
			return err
		}
	}
	x.tell()
	return nil
}

// list writes a list in parts. Items that are popped in between are missed.
func (x *export) list(ctx context.Context, key string) error {
	c, name := x.cache, x.cache.names.entry(key)
	p := c.client.Pipeline()
	at, left := p.Time(ctx), p.PTTL(ctx, name)
	if _, err := p.Exec(ctx); err != nil {
		return failed("export", key, err)
	}
	for before := int64(0); ; before += listStep {
		items, err := c.Range(ctx, key, before, before+listStep-1)
		if errors.Is(err, ErrWrongType) || errors.Is(err, ErrMalformed) {
			x.done.Skipped++ // neither a value nor a list
			return nil
		}
		if err != nil || len(items) == 0 {
			return err
		}
		r := record{Items: items, Before: before}
		r.setKey(key)
		if left.Val() > 0 {
			r.Expires = at.Val().Add(left.Val()).UnixMilli()
		}
		if err := x.write(r); err != nil {
			return err
		}
		if len(items) < listStep {
			return nil
		}
	}
}

func (x *export) write(r record) error {
	line, err := Encode(r)
	if err != nil {
		return err
	}
	x.done.Entries++
	x.done.Bytes += int64(len(line)) + 1
	_, err = x.out.Write(append(line, '\n'))
	return err
}

// ImportOptions say how to import.
type ImportOptions struct {
	// KeepExisting leaves entries and lists alone that are there.
	KeepExisting bool
	// Report is called now and then, and at the end.
	Report func(Progress)
}

// Import reads what [Cache.Export] wrote. Entries keep their times and end when
// they would have; those that are over, and those whose lock somebody holds, are
// skipped. An error names a line: those
// before its batch of 200 are imported.
func (c *Cache) Import(ctx context.Context, r io.Reader, o ImportOptions) (Progress, error) {
	x := &imports{cache: c, in: bufio.NewReader(r), options: o, line: 1}
	for end := false; !end; {
		b, ended, err := x.read(ctx)
		if err == nil {
			err = x.write(ctx, b)
		}
		if err != nil {
			return x.done, fmt.Errorf("cache: import: line %d: %w", x.line, err)
		}
		if end = ended; o.Report != nil {
			o.Report(x.done)
		}
	}
	return x.done, nil
}

type imports struct {
	cache   *Cache
	in      *bufio.Reader
	options ImportOptions
	line    int // that is read next
	done    Progress
}

// read takes the next lines, and says whether they are the last ones.
func (x *imports) read(ctx context.Context) (b bulk, end bool, err error) {
	for ; len(b.keys) < manyStep && !end; x.line++ {
		text, err := x.in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return b, false, err
		}
		end = err != nil
		x.done.Bytes += int64(len(text))
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		keys, args, err := x.cache.restoration(ctx, text, x.options)
		if err != nil {
			return b, false, err
		}
		b.add(keys, args)
	}
	return b, end, nil
}

func (x *imports) write(ctx context.Context, b bulk) error {
	for i, reply := range x.cache.bulk(ctx, x.cache.scripts.restore, b) {
		x.cache.near.forget(b.keys[i][0])
		_, err := link.ReplyOf(reply)
		switch {
		case err == nil:
			x.done.Entries++
		case link.WordOf(err) != "", errors.Is(kindOf(err), ErrWrongType):
			x.done.Skipped++
		default:
			return kindOf(err)
		}
	}
	return nil
}

// restoration is what lua/restore.lua takes for a line.
func (c *Cache) restoration(ctx context.Context, text []byte, o ImportOptions) ([]string, []any, error) {
	var r record
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if dec.More() {
		return nil, nil, fmt.Errorf("%w: more than one object", ErrInvalid)
	}
	key := r.key()
	if err := check("import", key); err != nil {
		return nil, nil, err
	}
	if (r.Value == nil) == (len(r.Items) == 0) || r.Before < 0 {
		return nil, nil, fmt.Errorf("%w: %q: use either a value or items", ErrInvalid, key)
	}
	for _, ms := range []int64{r.Created, r.Read, r.Expires} {
		if ms < 0 || ms >= 1e13 {
			return nil, nil, fmt.Errorf("%w: %q: a time of %d ms", ErrInvalid, key, ms)
		}
	}
	keys := []string{c.names.entry(key), c.names.lock(key)}
	args := []any{Token(ctx, keys[1]), flag(o.KeepExisting), r.Created, r.Read, r.Expires, c.unique()}
	if r.Value != nil {
		return keys, append(args, []byte(r.Value)), nil
	}
	args = append(args, "", r.Before)
	for _, item := range r.Items {
		args = append(args, []byte(item))
	}
	return keys, args, nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
