//go:build race

package cli

// The binary is built like the tests, so that the packages are not compiled twice.
const race = "-race"
