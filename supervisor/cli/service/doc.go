// Package service is what a program does for those who run it as a service: a
// file with its process number, a log file that can be rotated, and word to the
// service manager.
package service
