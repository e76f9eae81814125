// Package resp is a connection to Redis without the client library, for what Redis sends
// unasked. The library's PubSub reads a message of any size into memory, through 64 KiB of
// buffers, and reconnects without notice; a [Listener] discards what is too large while it
// comes in, and tells of every new connection.
package resp
