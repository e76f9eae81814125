package redisbus

// Direction is the way of a message, for an [Observer].
type Direction string

// The directions.
const (
	Sent     Direction = "sent"     // given to Redis, or queued for it
	Received Direction = "received" // and found valid, with or without a subscription
)

// GapReason tells how messages were lost.
type GapReason string

const (
	// GapReconnect: the subscription was interrupted. The number of messages lost
	// meanwhile is not known yet; the next message of each sender shows it, as a
	// GapSequence.
	GapReconnect GapReason = "reconnect"
	// GapSequence: the numbers of one sender have a hole.
	GapSequence GapReason = "sequence"
	// GapOverflow: this subscription did not keep up.
	GapOverflow GapReason = "overflow"
	// GapMalformed: a message that proves its sender cannot be delivered: another
	// implementation has named a field like one of ours, two fields the same except for
	// case, or a field in letters that are not ASCII.
	GapMalformed GapReason = "malformed"
)

// Gap is the notice that messages were lost.
type Gap struct {
	Reason GapReason
	// Sender is the sender of the lost messages, where that is known.
	Sender Identity
	// Directed: the lost messages were addressed to this node, not to all.
	Directed bool
	// Lost is how many messages were lost, 0 where nobody can know. A sender
	// counts all types together, so that for GapSequence it is an upper bound.
	Lost uint64
}
