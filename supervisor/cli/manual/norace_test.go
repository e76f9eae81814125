//go:build !race

package manual_test

const race = "-race=false"
