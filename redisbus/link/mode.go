package link

// Mode is how messages prove that their sender knows the cluster's token.
type Mode string

const (
	// ModeHMAC sends and accepts proofs: the HMAC-SHA256, under the token, of the
	// channel and of all bytes of the message before the proof. It is the default.
	ModeHMAC Mode = "hmac"
	// ModePlain sends and accepts the token itself, as other implementations do.
	// Then everybody who can subscribe to a channel learns the token and can send.
	ModePlain Mode = "plain"
	// ModeBoth sends the token and a proof beside it, and accepts either: for the
	// time in which a cluster changes from one mode to the other.
	ModeBoth Mode = "both"
)

// SharesToken reports whether the token is sent as it is, to nodes of other implementations
// that have the same one.
func (m Mode) SharesToken() bool { return m == ModePlain || m == ModeBoth }

// Understands reports whether nodes of the two modes accept each other's messages.
func (m Mode) Understands(other Mode) bool {
	return m == other || m == ModeBoth || other == ModeBoth
}
