// Package redisbus is the cluster's publish/subscribe over Redis: a [Bus] for
// each node. Package link below it has the connections.
//
// # Messages
//
// A [Bus] subscribes to two channels: the cluster's channel, and its node's inbox.
// Delivery is at most once, in order for one sender on one channel, and a loss is never
// silent: subscriptions with [SubscribeOptions.OnGap] are notified of each [Gap].
//
//	connecting ──subscriptions confirmed──▸ connected ──error──▸ connecting
//	     ▴                                     │
//	     └──── closed by the watchdog ◂─ nothing received for 6 s, although
//	                                    some bus sends a beacon every 2 to 3 s
//
// On the wire a message is a JSON object of at most 256 KiB and 32 levels:
//
//	{"messageType":"…","serverId":"stellar-worker-1","incarnation":"stellar-worker-1#7:x2k",
//	 "seq":1795427646000001,"sentAt":1795427646000,"meta":{"tenant":"7"},"body":…,"serverToken":"…"}
//
// By default serverToken is a proof, so that the secret itself never crosses the
// wire: the HMAC-SHA256, under the cluster's token, of the channel, a zero byte
// and all bytes before the member, in base64url. It comes last and has a fixed
// length, so it is verified before anything is decoded. seq grows by one with
// every message of the sender on that channel; it reveals replays and losses.
// Times are on Redis's clock, which every bus reads every few minutes; a message
// whose sentAt differs by more than a minute from that clock is dropped, and one that was sent
// more than 5 s before the bus's first subscription. Each life of a node has an inbox of its
// own, so that the proof of a message to a node holds for that life alone. meta, sealed
// and body are left out when empty; unknown members are ignored, so that versions can mix.
package redisbus
