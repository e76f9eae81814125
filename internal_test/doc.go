// Package internal_test holds the black-box scenarios: whole sets, seen from
// outside, on the embedded Redis and on a real one.
package internal_test
