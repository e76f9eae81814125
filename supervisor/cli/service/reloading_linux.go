package service

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Reloading returns the message that the program replaces its processes, until [Ready] follows. The time lets
// a service of Type=notify-reload know that this is what it has asked for.
func Reloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return reloading
	}
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", reloading, now.Nano()/1000)
}
