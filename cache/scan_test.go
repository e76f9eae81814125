package cache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAnExportThatCannotBeWrittenSaysSo(t *testing.T) {
	c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
	for i := range 10 {
		require.NoError(t, c.Save(ctx, strconv.Itoa(i), strings.Repeat("x", 1000), 0))
	}
	_, err := c.Export(ctx, full{}, "*", cache.ExportOptions{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, link.ErrUnknownOutcome)
}

func keysOf(t *testing.T, c *cache.Cache, glob string) []string {
	t.Helper()
	var keys []string
	for key, err := range c.Keys(t.Context(), glob) {
		require.NoError(t, err)
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestClearTouchesOnlyWhatMatches(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		neighbour := cfg
		neighbour.Namespace = "stellar2"
		n := open(t, neighbour)
		require.NoError(t, n.Save(ctx, "a1", 1, 0))
		for i := range 300 {
			require.NoError(t, c.Save(ctx, fmt.Sprint("a", i), 1, 0))
		}
		require.NoError(t, c.Save(ctx, "b[*]", 1, 0))
		_, err := c.Push(ctx, "a-list", 1)
		require.NoError(t, err)
		l, err := c.TryLock(ctx, "a7", time.Minute)
		require.NoError(t, err)

		require.Equal(t, []string{"b[*]"}, keysOf(t, c, `b\[\*\]`))
		size, err := c.Size(ctx, "*")
		require.NoError(t, err)
		require.Equal(t, 302, size)

		cleared, err := c.Clear(ctx, "a*")
		require.NoError(t, err)
		require.Equal(t, 300, cleared, "all but the locked one")
		require.Equal(t, []string{"a7", "b[*]"}, keysOf(t, c, "*"))
		cleared, err = c.Clear(l.Context(), "*")
		require.NoError(t, err)
		require.Equal(t, 2, cleared, "its holder may")
		require.Equal(t, []string{"a1"}, keysOf(t, n, "*"))
		require.NoError(t, l.Unlock())
	})
}

func TestExportAndImportKeepEverything(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, c *cache.Cache, cfg link.Config) {
		require.NoError(t, c.Save(ctx, "a", json.RawMessage(`{"x":1.0}`), 0))
		require.NoError(t, c.Save(ctx, "b\xff\x00", nil, time.Hour))
		for i := range 1200 {
			_, err := c.PushWith(ctx, "l", cache.ListOptions{TTL: time.Hour}, i)
			require.NoError(t, err)
		}
		var file bytes.Buffer
		var seen cache.Progress
		exported, err := c.Export(ctx, &file, "*", cache.ExportOptions{Report: func(p cache.Progress) { seen = p }})
		require.NoError(t, err)
		require.Equal(t, seen, exported)
		require.Equal(t, cache.Progress{Entries: 5, Bytes: int64(file.Len())}, seen)

		other := cfg
		other.Namespace = "copy"
		into := open(t, other)
		require.NoError(t, into.Save(ctx, "a", "old", 0))
		done, err := into.Import(ctx, bytes.NewReader(file.Bytes()), cache.ImportOptions{KeepExisting: true})
		require.NoError(t, err)
		require.Equal(t, 4, done.Entries)
		require.Equal(t, 1, done.Skipped)
		done, err = into.Import(ctx, bytes.NewReader(file.Bytes()), cache.ImportOptions{Report: func(p cache.Progress) { seen = p }})
		require.NoError(t, err)
		require.Equal(t, 5, done.Entries, "a list is replaced, not appended to")
		require.Equal(t, done, seen)

		done, err = into.Import(ctx, bytes.NewReader(file.Bytes()), cache.ImportOptions{KeepExisting: true})
		require.NoError(t, err)
		require.Equal(t, 5, done.Skipped, "no part of a list is added to one that is there")

		for _, key := range []string{"a", "b\xff\x00"} {
			want, err := c.LoadWith(ctx, key, cache.LoadOptions{NoRecord: true})
			require.NoError(t, err)
			got, err := into.LoadWith(ctx, key, cache.LoadOptions{NoRecord: true})
			require.NoError(t, err)
			want.Version, got.Version = "", ""
			require.Equal(t, want, got)
		}
		want, err := c.Range(ctx, "l", 0, -1)
		require.NoError(t, err)
		got, err := into.Range(ctx, "l", 0, -1)
		require.NoError(t, err)
		require.Equal(t, want, got)
		ttl := redistest.Client(t, cfg).PTTL(ctx, into.EntryKey("l")).Val()
		require.InDelta(t, time.Hour.Milliseconds(), ttl.Milliseconds(), 60_000)
	})
}

func TestImportNamesTheLineItCannotRead(t *testing.T) {
	c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
	for _, line := range []string{
		`{`, `[]`, `{"key":"k"}`, `{"key":"k","value":1,"items":[1]}`, `{"value":1}`, `{"key":"k","valu":1}`,
		`{"key":"k","value":1,"expiresAt":-5}`, `{"key":"k","value":1} {"key":"l","value":1}`,
	} {
		done, err := c.Import(ctx, strings.NewReader("{\"key\":\"first\",\"value\":1}\n\n"+line+"\n"), cache.ImportOptions{})
		require.ErrorIs(t, err, cache.ErrInvalid, line)
		require.ErrorContains(t, err, "line 3", line)
		require.Zero(t, done.Entries)
	}
}

// endless is a file of one line without an end. It counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	e.read += len(b)
	return len(b), nil
}

func TestALineOfAnImportIsBounded(t *testing.T) {
	c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
	file := &endless{}
	_, err := c.Import(ctx, file, cache.ImportOptions{MaxLine: 1 << 20})
	require.ErrorIs(t, err, cache.ErrInvalid)
	require.ErrorContains(t, err, "line 1: ")
	require.ErrorContains(t, err, "longer than 1048576 bytes")
	require.Less(t, file.read, 2<<20)
	line := `{"key":"k","value":"` + strings.Repeat("x", 8<<10) + `"}`
	done, err := c.Import(ctx, strings.NewReader(line+"\n"+line), cache.ImportOptions{MaxLine: len(line) + 1})
	require.NoError(t, err, "as long as may be")
	require.Equal(t, 2, done.Entries)
}

// A list of large items is exported in lines that can be imported again.
func TestAListOfLargeItemsIsExportedInParts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, cfg link.Config) {
		c, ctx := open(t, cfg), t.Context()
		var want []string
		for i := range 3 {
			item := strings.Repeat(string(rune('a'+i)), 9<<20)
			want = append(want, item)
			_, err := c.Push(ctx, "list", item)
			require.NoError(t, err)
		}
		var file bytes.Buffer
		_, err := c.Export(ctx, &file, "list", cache.ExportOptions{})
		require.NoError(t, err)
		require.Equal(t, 3, bytes.Count(file.Bytes(), []byte("\n")), "one item in a line")
		_, err = c.Destroy(ctx, "list")
		require.NoError(t, err)
		_, err = c.Import(ctx, &file, cache.ImportOptions{MaxLine: 17 << 20})
		require.NoError(t, err)
		items, err := c.Range(ctx, "list", 0, -1)
		require.NoError(t, err)
		require.Len(t, items, len(want))
		for i, item := range items {
			require.Equal(t, `"`+want[i]+`"`, string(item))
		}
	})
}

func TestImportedEntryEndsWhenItWouldHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := open(t, redistest.Embedded(t).Config()), t.Context()
		require.NoError(t, c.Save(ctx, "a", 1, time.Second))
		require.NoError(t, c.Save(ctx, "b", 1, time.Minute))
		var file bytes.Buffer
		errorFree(t, second(c.Export(ctx, &file, "*", cache.ExportOptions{})))
		time.Sleep(30 * time.Second)
		_, err := c.Clear(ctx, "*")
		require.NoError(t, err)
		done, err := c.Import(ctx, &file, cache.ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, 1, done.Entries)
		require.Equal(t, 1, done.Skipped)
		time.Sleep(30*time.Second - time.Millisecond)
		_, err = c.Load(ctx, "b")
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = c.Load(ctx, "b")
		require.ErrorIs(t, err, cache.ErrNotFound)
	})
}

func FuzzImport(f *testing.F) {
	f.Add(`{"key":"k","value":{"a":[1,2]},"createdAt":1,"expiresAt":9999999999999}` + "\n" + `{"key64":"/w==","items":[1,null],"before":0}`)
	f.Add(`{"key":"k","items":[[]],"before":9223372036854775807}`)
	server := redistest.Embedded(f)
	c := open(f, server.Config())
	f.Fuzz(func(t *testing.T, file string) {
		_, err := c.Import(t.Context(), strings.NewReader(file), cache.ImportOptions{})
		if err != nil {
			require.ErrorIs(t, err, cache.ErrInvalid)
		}
		_, err = c.Export(t.Context(), &bytes.Buffer{}, "*", cache.ExportOptions{})
		require.NoError(t, err, "what was imported can be exported")
		_, err = c.Clear(t.Context(), "*")
		require.NoError(t, err)
	})
}
