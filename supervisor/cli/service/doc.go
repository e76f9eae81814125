// Package service helps to run a program as a service: with a pidfile, a log file that
// can be rotated, and notifications to the service manager.
package service
