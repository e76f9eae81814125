package link

import "strings"

// kinds are the types of the keys of [Keys] on Redis. A name that ends with a colon begins
// the names of many keys. The entries of the cache are not here: under a compatibility
// preset they have other names, and the package cache knows their types.
//
//nolint:goconst // the words of Redis, in a table
var kinds = []struct{ name, kind string }{
	{"layout", "string"}, {"token", "string"}, {"epoch", "string"}, {"numbers:", "string"}, {"clock", "string"},
	{"members", "hash"}, {"leases", "zset"}, {"reaping", "hash"}, {"aliens", "hash"}, {"tended", "hash"}, {"snapshot", "hash"},
	{"connections", "hash"}, {"connections:", "set"}, {"lock:", "string"}, {"loader:", "string"}, {"locks:", "set"},
	{"tasks", "hash"}, {"queue:", "list"}, {"queues", "set"}, {"settings", "hash"}, {"active", "hash"}, {"bytes", "hash"},
	{"weighing", "hash"}, {"weighed:", "set"}, {"bodies", "hash"}, {"body:", "string"},
	{"idle:", "set"}, {"idlers:", "set"}, {"serves:", "zset"}, {"lists", "hash"}, {"delayed:", "zset"}, {"parked:", "list"},
	{"parked", "set"}, {"owned:", "hash"}, {"stream:", "hash"},
	{"producer:", "string"}, {"unique", "hash"}, {"unique:until", "zset"}, {"deadlines", "zset"},
	{"blocked", "hash"}, {"followers", "hash"},
	{"waiting", "hash"}, {"cancelling", "hash"}, {"progress", "hash"}, {"periodic", "hash"}, {"periodic:definitions", "hash"},
	{"periodic:set", "hash"}, {"periodic:history", "hash"}, {"defaults", "hash"},
	{"periodic:registered", "hash"}, {"periodic:programs", "hash"},
	{"definitions", "hash"}, {"mover", "string"}, {"ready", "set"}, {"next", "zset"}, {"tended", "hash"},
	{"tries", "hash"}, {"history", "hash"}, {"dead", "zset"}, {"cancelled", "zset"}, {"reasons", "hash"}, {"done", "zset"},
	{"groups:", "zset"}, {"grouped", "hash"}, {"halted", "set"}, {"resting", "zset"}, {"rates", "zset"}, {"refills", "zset"},
	{"held", "hash"}, {"holders", "hash"}, {"returned", "hash"},
	{"steps", "hash"}, {"steps:", "hash"}, {"stepped:", "hash"}, {"kept", "zset"},
	{"retained", "zset"}, {"retained:", "list"}, {"results", "hash"}, {"stats", "hash"},
	{"events", "stream"}, {"events:versions", "hash"}, {"charts", "zset"}, {"charts:names", "zset"}, {"charts:sent:", "string"},
	{"charts:", "hash"},
}

// kindOf returns the type of the key with that name, or "" for a key of another kind.
func kindOf(key string) string {
	_, name, _ := strings.Cut(key, "}:")
	for _, k := range kinds {
		if name == k.name || strings.HasSuffix(k.name, ":") && strings.HasPrefix(name, k.name) {
			return k.kind
		}
	}
	return ""
}
