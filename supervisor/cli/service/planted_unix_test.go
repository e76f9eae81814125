//go:build unix

package service_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// stranger is the number of another user.
const stranger = 65534

// shared is a directory that everybody may write to, as /tmp is.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	return dir
}

// planted makes a symbolic link of another user.
func planted(t *testing.T, target, path string) {
	t.Helper()
	require.NoError(t, os.Symlink(target, path))
	if os.Geteuid() != 0 {
		t.Skip("only root can make links of other users")
	}
	require.NoError(t, os.Lchown(path, stranger, stranger))
}

// A link that waits at the name of the pidfile's temporary file must not be followed.
func TestThePIDFileFollowsNoPlantedLink(t *testing.T) {
	dir, target := shared(t), filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(target, []byte("precious"), 0o600))
	path := filepath.Join(dir, "pid")
	require.NoError(t, os.Symlink(target, path+"."+strconv.Itoa(os.Getpid())))
	remove, err := service.WritePIDFile(path)
	require.NoError(t, err)
	text, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	info, err := os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode(), "a file that everybody may read")
	require.NoError(t, remove())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left but the link")
}

// A pidfile that cannot be put into its place leaves nothing behind.
func TestAPIDFileThatFailsLeavesNothing(t *testing.T) {
	dir := shared(t)
	path := filepath.Join(dir, "pid")
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err := service.WritePIDFile(path)
	require.Error(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// A link of this user or of root leads where they want the log; one of another user would
// have the log written into a file of this user.
func TestALogFollowsNoPlantedLink(t *testing.T) {
	dir, target := shared(t), filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(target, []byte("precious\n"), 0o600))
	own := filepath.Join(dir, "own")
	require.NoError(t, os.Symlink(target, own))
	l, err := service.OpenLogFile(own)
	require.NoError(t, err)
	_, err = l.Write([]byte("a line\n"))
	require.NoError(t, err)
	require.NoError(t, l.Close())

	path := filepath.Join(dir, "log")
	planted(t, target, path)
	require.ErrorContains(t, service.CheckLogFile(path), "symbolic link of another user")
	_, err = service.OpenLogFile(path)
	require.ErrorIs(t, err, service.ErrForeignLink)
	require.ErrorContains(t, err, path)
	text, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "precious\na line\n", string(text))

	require.NoError(t, os.Remove(path))
	planted(t, filepath.Join(t.TempDir(), "new"), path)
	_, err = service.OpenLogFile(path)
	require.ErrorIs(t, err, service.ErrForeignLink, "nor is a file made")

	// A link that comes while the log is open: it goes on in the open file.
	require.NoError(t, os.Remove(path))
	l, err = service.OpenLogFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Rename(path, path+".1"))
	planted(t, target, path)
	_, err = l.Write([]byte("goes on\n"))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	text, err = os.ReadFile(path + ".1")
	require.NoError(t, err)
	require.Equal(t, "goes on\n", string(text))
}

func TestALogMayGoToADevice(t *testing.T) {
	require.NoError(t, service.CheckLogFile("/dev/stderr"), "a link of root's to a link of this process")
}

// An export is not written into a pipe that another user made.
// An export is not written into a pipe that another user made.
func TestWhatIsWrittenBelongsToThisUser(t *testing.T) {
	dir := shared(t)
	path := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o666))
	_, err := service.OpenDevice(path)
	require.ErrorIs(t, err, service.ErrNoReader, "it never waits")
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	defer reader.Close()
	f, err := service.OpenDevice(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to other users")
	}
	require.NoError(t, os.Lchown(path, stranger, stranger))
	_, err = service.OpenDevice(path)
	require.ErrorContains(t, err, "belongs to another user")
}
