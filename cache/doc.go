// Package cache is the values, lists, counters and locks that all nodes of a
// cluster share on one Redis.
package cache
