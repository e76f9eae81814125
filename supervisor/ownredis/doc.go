// Package ownredis runs a redis-server, or a valkey-server, for the programs of one machine: its data
// is in a directory, its socket is for this user alone, and what it acknowledges is on the disk
// within a second or, if asked, at once.
//
// Three parts take part, and three locks in the directory (flock, which the kernel ends with their
// holders) say which of them live:
//
//	owner    one process: it starts the server, again whenever it ends, and stops it at the end
//	server   its lock is inherited: it is held as long as the server runs, or what it has forked
//	members  other processes that use the server, such as the children of the owner: Join
//
// The server has a session of its own and does not end with its owner:
//
//	what ends                   what follows
//	the server                  the owner starts it again; nodes wait, as for any outage
//	the owner, at its Close     the server saves and ends; if members are left, the last one stops it
//	the owner, killed           the server goes on; the next Open takes it over (same process)
//	the last member after that  it has the server save and end
//	all of them                 the next Open starts the server, which loads its AOF
//
// A second Open on the directory is refused while the owner lives. The socket appears in its place
// when the data is loaded, and after an AOF with a torn end is rewritten: no node sees less.
//
// The package knows neither nodes nor commands. It uses options and commands of Redis 6.2 only.
package ownredis
