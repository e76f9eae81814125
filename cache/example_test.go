package cache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/redisbus/link"
)

// exampleCache is a cache on a Redis of its own. A node's handlers have theirs in
// the API instead.
func exampleCache() (context.Context, *cache.Cache, func()) {
	server := embedded.New()
	cfg := server.Config()
	client, err := link.OpenClient(cfg, "example")
	if err != nil {
		panic(err)
	}
	c := cache.New(cache.Config{Client: client, Keys: cfg.Keys()})
	return context.Background(), c, func() { _ = client.Close(); _ = server.Close() }
}

type user struct {
	Name   string `json:"name"`
	Visits int    `json:"visits"`
}

func Example() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	err := c.Save(ctx, "user:7", user{Name: "Ada"}, time.Hour)
	fmt.Println(err)
	u, err := cache.Get[user](ctx, c, "user:7")
	fmt.Println(u.Name, err)
	_, err = cache.Get[user](ctx, c, "user:8")
	fmt.Println(err)
	// Output:
	// <nil>
	// Ada <nil>
	// cache: load "user:8": not found
}

func ExampleUpdate() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	for range 3 { // as if nobody else wrote in between
		_, _ = cache.Update(ctx, c, "user:7", func(u user, _ bool) (user, error) {
			u.Visits++
			return u, nil
		})
	}
	u, _ := cache.Get[user](ctx, c, "user:7")
	fmt.Println(u.Visits)
	// Output: 3
}

func ExampleGetOrLoad() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	// One caller in the cluster asks the database; for ten minutes after the hour
	// the others get the old value while one asks again.
	o := cache.FillOptions{TTL: time.Hour, Stale: 10 * time.Minute}
	for range 2 {
		u, err := cache.GetOrLoad(ctx, c, "user:7", o, func(context.Context) (user, error) {
			fmt.Println("asking the database")
			return user{Name: "Ada"}, nil
		})
		fmt.Println(u.Name, err)
	}
	// Output:
	// asking the database
	// Ada <nil>
	// Ada <nil>
}

func ExampleCache_Lock() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	l, err := c.Lock(ctx, "report", 10*time.Second) // waits for it; renewed until Unlock
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("others:", c.Save(ctx, "report", "theirs", 0))
	fmt.Println("holder:", c.Save(l.Context(), "report", "ours", 0))
	fmt.Println("unlock:", l.Unlock())
	// Output:
	// others: cache: save "report": locked
	// holder: <nil>
	// unlock: <nil>
}

func ExampleCache_PopWait() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	_, _ = c.PushWith(ctx, "letters", cache.ListOptions{Max: 1000, TTL: time.Hour}, "a", "b")
	for range 3 {
		letter, err := cache.PopAs[string](ctx, c, "letters", 10*time.Millisecond)
		fmt.Println(letter, err)
	}
	// Output:
	// a <nil>
	// b <nil>
	//  cache: pop "letters": not found
}

func ExampleCache_Increment() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	_, _ = c.Increment(ctx, "visits", 41)
	n, err := c.Increment(ctx, "visits", 1)
	fmt.Println(n, err)
	// Output: 42 <nil>
}

func ExampleCache_Clear() {
	ctx, c, closeAll := exampleCache()
	defer closeAll()

	_ = c.SaveMany(ctx, []cache.Item{{Key: "a:1", Value: 1}, {Key: "a:2", Value: 2}, {Key: "b:1", Value: 3}})
	n, _ := c.Clear(ctx, "a:*")
	fmt.Println("cleared", n)
	for key, err := range c.Keys(ctx, "*") {
		fmt.Println("left", key, err)
	}
	// Output:
	// cleared 2
	// left b:1 <nil>
}
