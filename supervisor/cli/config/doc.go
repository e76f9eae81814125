// Package config reads the settings of a command from flags, the environment and
// the configuration file, and validates its arguments.
//
// Flags win over the environment, the environment over the configuration file,
// the file over the defaults. Each setting is declared once, as a flag whose sources
// include its variable and its key in the file. [Input.Origin] returns where a value
// came from: errors name that place, and "config show" prints it. Secrets come from
// the environment or from files that hold one secret each, never from a flag.
package config
