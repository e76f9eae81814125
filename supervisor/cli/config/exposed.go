package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/stellarfw/stellar/redisbus/link"
)

// exposedSecrets returns a remark on each file with a secret that every user of the machine can
// read, and on a secret in the configuration file. It is no mistake where nobody else has a user, as in most containers.
func (s *Settings) exposedSecrets() (remarks []string) {
	files := s.Secrets()
	files = append(files, Secret{Variable: redisKey, File: s.redisKey})
	for _, secret := range files {
		if secret.File != "" && openToAll(secret.File) {
			flag := cmp.Or(fileFlags[secret.Variable], redisKeyFlag)
			remarks = append(remarks,
				fmt.Sprintf("%s: every user of this machine can read %s: run chmod 0600 on it", s.Origin(flag).Where, secret.File))
		}
	}
	if o := s.Origin(redisURLFlag); o.Rank == FromFile && s.addressFlag() == redisURLFlag && (link.Config{URL: s.redisURL}).HoldsPassword() {
		remarks = append(remarks, fmt.Sprintf("%s: it holds a password: secrets do not belong in this file: set the variable %s, or %s: FILE",
			o.Where, redisPass, fileFlags[redisPass]))
	}
	return remarks
}

// openToAll reports whether every user can read the file: its mode says so, and so do those
// of the directories above it.
func openToAll(path string) bool {
	if runtime.GOOS == "windows" { // modes say nothing of other users there
		return false
	}
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	may := func(path string, bit fs.FileMode) bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().Perm()&bit != 0
	}
	if err != nil || !may(path, 0o004) {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if !may(dir, 0o001) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
