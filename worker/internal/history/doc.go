// Package history keeps how many runs of each task name and queue ended in each minute, how, how
// long they had waited and how long they ran.
//
// Each process sums up its runs ([Collector]), and adds them once a minute by one script. Redis has a
// hash for each hour with a field "minute|queue|name", or for the finished hours of more than
// [Fine] ago one with a field for each quarter of an hour. A value is a line of counts: see
// [Sum.String]. Whatever exceeds [MostNames] counts as the name [Other].
package history
