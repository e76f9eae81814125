package link_test

import (
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// A configuration reports everything that is wrong with it at once.
func ExampleConfig_Validate() {
	cfg := link.Config{URL: "redis://127.0.0.1:6379/0", Namespace: "my shop", Token: link.NewSecret("too short")}
	fmt.Println(cfg.Validate())
	// Output:
	// namespace "my shop": use 1 to 200 letters, digits and . _ : -
	// token: weak secret: 9 bytes are too few; choose a secret of at least 16 bytes, or none to have one drawn
}

// A secret is redacted wherever it is printed, encoded or logged.
func ExampleSecret() {
	cfg := link.Config{URL: "redis://127.0.0.1:6379/0", Password: link.NewSecret("open sesame")}
	fmt.Println(cfg.Password)
	fmt.Printf("%#v\n", cfg.Password)
	// Output:
	// [redacted]
	// [redacted]
}
