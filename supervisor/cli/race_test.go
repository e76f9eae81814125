//go:build race

package cli

// race is a flag of the build of the program.
const race = "-race"
