// Package redisbus is a node's way to Redis: its connections, the names of its
// keys, the Lua scripts it runs there and the cluster's publish/subscribe.
//
// Nothing else in the house dials Redis, builds a key name or signs a message.
//
// # Connections
//
// A node has three: Client for the cache and everything a handler asks for,
// Subscriber for publish/subscribe, Tasks for claims and completions, so that
// handlers cannot starve the queue and a slow subscriber cannot starve either.
// go-redis would silently execute a command twice after a lost reply; its
// retries are off, and [Retry] repeats only what is safe to repeat.
//
// # Messages
//
// Every message is a JSON object with messageType, serverId and serverToken.
// By default serverToken is a proof, an HMAC over the message, so that the
// secret itself never crosses the wire.
package redisbus
