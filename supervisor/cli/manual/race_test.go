//go:build race

package manual_test

// The packages of Go blocks are built like the tests, so that nothing is compiled twice.
const race = "-race"
