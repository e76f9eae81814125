//go:build !race

package cli

const race = "-race=false"
