// Package config is what a command is given: flags, the environment, the
// configuration file and arguments.
//
// Flags win over the environment, the environment over the configuration file,
// the file over the defaults. All four come from one declaration (flags.go), and
// the origin of each value is known ([Input.Origin]): errors name it, and "config
// show" tells it. Secrets come from the environment or from files of their own,
// never from a flag.
package config
