package cache

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/stellarfw/stellar/redisbus/link"
)

// listStep is how many items of a list are in one line of an export.
const listStep = 500

// Progress is how far an export, an import or a clear has come.
type Progress struct {
	Entries int // written to the file or to the cache, or destroyed; each line of a list counts as one
	Skipped int // expired, locked, malformed, existing already, or with a key longer than MaxKey
	Bytes   int64
}

// record is one line of an export: a Value, or some Items of a list. Before is the number
// of the list's items in earlier lines. A key that is not UTF-8 is in Key64.
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

// ExportOptions say how to export.
type ExportOptions struct {
	// Report is called now and then, and at the end.
	Report func(Progress)
}

// Export writes the entries and lists that match a glob pattern ("*" for all) to
// w, a JSON object on each line, with their times in milliseconds on Redis's
// clock. Each is exported as it is when its turn comes, without the white space
// between the tokens of its JSON; reads are not recorded.
func (c *Cache) Export(ctx context.Context, w io.Writer, glob string, o ExportOptions) (Progress, error) {
	x := &export{cache: c, out: bufio.NewWriter(w), report: o.Report}
	for keys, err := range c.scan(ctx, c.names.cachePrefix, glob) {
		if err != nil {
			return x.done, failed("export", glob, err)
		}
		for step := range slices.Chunk(keys, clearStep) {
			if err := x.entries(ctx, step); err != nil {
				return x.done, refused("export", glob, err)
			}
		}
	}
	if err := x.out.Flush(); err != nil {
		return x.done, refused("export", glob, err)
	}
	x.notify()
	return x.done, nil
}

type export struct {
	cache  *Cache
	out    *bufio.Writer
	done   Progress
	report func(Progress)
}

func (e *export) notify() {
	if e.report != nil {
		e.report(e.done)
	}
}

func (e *export) entries(ctx context.Context, keys []string) error {
	c := e.cache
	var b bulk
	// The lock's key is not given: locks, which guard loads under a compatibility preset,
	// must not hide entries from a backup.
	for _, key := range keys {
		b.add([]string{c.names.entry(key)}, []any{0, false, false})
	}
	for i, reply := range c.bulk(ctx, c.scripts.load, b) {
		entry, err := c.reply(keys[i], reply)
		switch {
		case err == nil:
			r := record{Value: entry.Value, Created: bounded(entry.Created), Read: bounded(entry.Read), Expires: bounded(entry.Expires)}
			r.setKey(keys[i])
			err = e.write(r)
		case errors.Is(err, ErrWrongType):
			err = e.list(ctx, keys[i])
		case errors.Is(err, ErrMalformed):
			e.done.Skipped++
			err = nil
		case errors.Is(err, ErrNotFound): // destroyed or expired since the scan
			err = nil
		}
		if err != nil {
			return err
		}
	}
	e.notify()
	return nil
}

// list writes a list in several lines. If items are popped meanwhile, the export lacks
// some items.
func (e *export) list(ctx context.Context, key string) error {
	c, name := e.cache, e.cache.names.entry(key)
	p := c.client.Pipeline()
	at, left := p.Time(ctx), p.PTTL(ctx, name)
	if _, err := p.Exec(ctx); err != nil {
		return failed("export", key, err)
	}
	for before := int64(0); ; before += listStep {
		items, err := c.Range(ctx, key, before, before+listStep-1)
		if errors.Is(err, ErrWrongType) || errors.Is(err, ErrMalformed) {
			e.done.Skipped++ // neither a value nor a list
			return nil
		}
		if err != nil || len(items) == 0 {
			return err
		}
		done := before
		for part := range bySize(items) {
			r := record{Items: part, Before: done}
			done += int64(len(part))
			r.setKey(key)
			if left.Val() > 0 {
				r.Expires = bounded(at.Val().Add(left.Val()))
			}
			if err := e.write(r); err != nil {
				return err
			}
		}
		if len(items) < listStep {
			return nil
		}
	}
}

// bySize yields the items in order, in parts of at most maxBatch bytes or of one item.
func bySize(items []json.RawMessage) iter.Seq[[]json.RawMessage] {
	return func(yield func([]json.RawMessage) bool) {
		first, size := 0, 0
		for i, item := range items {
			if size += len(item); size > maxBatch && i > first {
				if !yield(items[first:i]) {
					return
				}
				first, size = i, len(item)
			}
		}
		yield(items[first:])
	}
}

func (e *export) write(r record) error {
	line, err := Encode(r)
	if err != nil {
		return err
	}
	e.done.Entries++
	e.done.Bytes += int64(len(line)) + 1
	_, err = e.out.Write(append(line, '\n'))
	return err
}

// ImportOptions are the options of [Cache.Import].
type ImportOptions struct {
	// KeepExisting skips keys that exist already, instead of replacing them.
	KeepExisting bool
	// Report is called now and then, and at the end.
	Report func(Progress)
	// MaxLine is the length of the longest line, in bytes. Default 1 GiB: Redis stores values
	// of up to 512 MiB.
	MaxLine int
}

// maxLine is the default of [ImportOptions.MaxLine]. Lines are imported together up to
// maxBatch bytes.
const (
	maxLine  = 1 << 30
	maxBatch = 16 << 20
)

// Import saves the entries and lists that [Cache.Export] has written. Entries keep their
// times and expire when they would have expired; expired and locked entries are skipped.
// Lines are imported in batches of at most 200. An error names a line; the batches before that
// line's batch have been imported.
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
	line    int // the next line's number
	done    Progress
}

// read returns the next lines, and whether they are the last.
func (i *imports) read(ctx context.Context) (b bulk, end bool, err error) {
	for size := 0; len(b.keys) < manyStep && size < maxBatch && !end; i.line++ {
		text, err := i.readLine()
		size += len(text)
		if err != nil && !errors.Is(err, io.EOF) {
			return b, false, err
		}
		end = err != nil
		i.done.Bytes += int64(len(text))
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		keys, args, err := i.cache.restoration(ctx, text, i.options)
		if errors.Is(err, errLongKey) {
			i.done.Skipped++
			continue
		}
		if err != nil {
			return b, false, err
		}
		b.add(keys, args)
	}
	return b, end, nil
}

// readLine returns the next line. Its error is an [ErrInvalid] for a line that is too long.
func (i *imports) readLine() ([]byte, error) {
	line, err := link.ReadLine(i.in, cmp.Or(i.options.MaxLine, maxLine))
	if errors.Is(err, link.ErrLongLine) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return line, err //nolint:wrapcheck // of the reader
}

func (i *imports) write(ctx context.Context, b bulk) error {
	for n, reply := range i.cache.bulk(ctx, i.cache.scripts.restore, b) {
		i.cache.near.forget(b.keys[n][0])
		_, err := link.ReplyOf(reply)
		switch {
		case err == nil:
			i.done.Entries++
		case link.WordOf(err) != "", errors.Is(kindOf(err), ErrWrongType):
			i.done.Skipped++
		default:
			return kindOf(err)
		}
	}
	return nil
}

// errLongKey: no cache of this layout can have the key. The other programs of a compatibility
// preset have keys of any length, and imports under a preset restore them.
var errLongKey = errors.New("the key is too long")

// restoration returns the keys and arguments of lua/restore.lua for a line of an export. The
// error is errLongKey for a line to skip.
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
	if len(key) > MaxKey && c.preset == Native {
		return nil, nil, errLongKey
	}
	if len(key) <= MaxKey {
		if err := check("import", key); err != nil {
			return nil, nil, err
		}
	}
	if (r.Value == nil) == (len(r.Items) == 0) || r.Before < 0 {
		return nil, nil, fmt.Errorf("%w: %q: use either a value or items", ErrInvalid, key)
	}
	for _, ms := range []int64{r.Created, r.Read, r.Expires} {
		if ms < 0 || ms >= maxMillis {
			return nil, nil, fmt.Errorf("%w: %q: a time of %d ms", ErrInvalid, key, ms)
		}
	}
	keys := []string{c.names.entry(key), c.names.lock(key)}
	args := []any{Token(ctx, keys[1]), o.KeepExisting, r.Created, r.Read, r.Expires, c.unique()}
	if r.Value != nil {
		return keys, append(args, []byte(r.Value)), nil
	}
	args = append(args, "", r.Before)
	for _, item := range r.Items {
		args = append(args, []byte(item))
	}
	return keys, args, nil
}

// maxMillis is the first time that an entry cannot hold, in the year 2286.
const maxMillis = 1e13

// bounded returns a time in milliseconds, and 0 if it is out of the bounds of an import, as
// the other programs of a compatibility preset may write it.
func bounded(t time.Time) int64 {
	if ms := t.UnixMilli(); ms > 0 && ms < maxMillis {
		return ms
	}
	return 0
}
