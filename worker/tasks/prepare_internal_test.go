package tasks

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus"
)

func TestManyTasksArePreparedInTheirOrder(t *testing.T) {
	c := NewClient(context.Background(), nil, redisbus.NewKeys("x"), nil)
	news := make([]New, 10_000) // so many are prepared on several processors
	for i := range news {
		news[i] = New{Name: "n", Payload: i, Options: Options{Queue: []string{"a", "b"}[i%2]}}
	}
	news[7] = New{Name: "n", Payload: 7, Options: Options{ID: "mine", Retention: 1e9}, Then: []New{{Name: "after"}}}
	all, err := c.prepareMany(news)
	require.NoError(t, err)
	require.Len(t, all, len(news)+1)
	require.Equal(t, "mine.then.1", all[8].id)
	require.True(t, all[8].then)
	require.Equal(t, "mine", all[8].after)
	seen := map[string]bool{}
	for i, p := range all {
		seen[p.id] = true
		if i == 7 || i == 8 {
			continue
		}
		if i > 8 {
			i--
		}
		drawn := len(p.id) <= 14 && strings.HasPrefix(p.id, c.producer)
		same := p.line == news[i].Queue && p.tail == record{payload: []byte(strconv.Itoa(i))}.tail() && p.head == "n|"+p.line+"|"
		if !drawn || !same { // so many calls of require take seconds
			require.Fail(t, "prepared otherwise", "%d: %+v %+v", i, p, p.kind)
		}
	}
	require.Len(t, seen, len(all))
}
