//go:build race

package manual_test

// The binary and the packages are built like the tests, so that nothing is compiled twice.
const race = "-race"
