package ownredis

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"strconv"
)

// jones is the polynomial of the checksum at the end of an RDB, in reversed notation.
const jones = 0x95ac9329ac4bc9b5

// ErrNoBackup reports a file that is no RDB, or not a whole one.
var ErrNoBackup = errors.New("no whole backup")

// firstSummed is the first version of the format that has a checksum at its end.
const firstSummed = 5

// copyRDB copies an RDB and returns its size. It returns an [ErrNoBackup] if what it has read is no
// RDB, or if its checksum says that it is not what Redis has written. unsummed says that one without a checksum is right,
// too, if it says so: of an old version, or written with the option "rdbchecksum no".
func copyRDB(to io.Writer, from io.Reader, unsummed bool) (size int64, err error) {
	const sum = 8 // bytes of the checksum
	r := bufio.NewReaderSize(from, 1<<20)
	old, err := precedesSums(r)
	if err != nil {
		return 0, err
	}
	crc, table := uint64(0), crc64.MakeTable(jones)
	for {
		chunk, err := r.Peek(1 << 16)
		if err != nil && !errors.Is(err, io.EOF) {
			return size, err
		}
		last := errors.Is(err, io.EOF)
		summed := len(chunk)
		if summed -= sum; summed < 0 {
			return size, as(ErrNoBackup, errors.New("it ends too early"))
		}
		// Redis neither begins nor ends with a complement, as the package crc64 does.
		crc = ^crc64.Update(^crc, table, chunk[:summed])
		if last {
			summed = len(chunk)
		}
		if _, err := to.Write(chunk[:summed]); err != nil {
			return size, err
		}
		size += int64(summed)
		if last {
			if told := binary.LittleEndian.Uint64(chunk[len(chunk)-sum:]); told != crc && (!unsummed || told != 0 && !old) {
				return size, as(ErrNoBackup, fmt.Errorf("its checksum is %016x, and should be %016x: it is damaged or cut off", crc, told))
			}
			return size, nil
		}
		if _, err := r.Discard(summed); err != nil {
			return size, err
		}
	}
}

// precedesSums reports whether an RDB, of which nothing has been read, is of a version without checksums.
func precedesSums(r *bufio.Reader) (bool, error) {
	head, err := r.Peek(9) // REDIS or VALKEY, and a version of digits
	if err != nil || !bytes.HasPrefix(head, []byte("REDIS")) && !bytes.HasPrefix(head, []byte("VALKEY")) {
		return false, as(ErrNoBackup, errors.New("it is no RDB, the format of Redis's backups"))
	}
	version, err := strconv.Atoi(string(head[5:]))
	return err == nil && version < firstSummed, nil
}
