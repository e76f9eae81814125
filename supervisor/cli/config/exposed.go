package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// exposedSecrets returns a remark on each file with a secret that every user of the machine can
// read. It is no mistake where nobody else has a user, as in most containers.
func (s *Settings) exposedSecrets() (remarks []string) {
	files := s.Secrets()
	files = append(files, Secret{Variable: "REDIS_KEY", File: s.redisKey})
	for _, secret := range files {
		if secret.File != "" && openToAll(secret.File) {
			remarks = append(remarks,
				fmt.Sprintf("%s_FILE: every user of this machine can read %s: run chmod 0600 on it", secret.Variable, secret.File))
		}
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
