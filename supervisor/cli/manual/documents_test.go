package manual_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/supervisor/cli/manual"
)

// root is the module's directory.
const root = "../../.."

// document is the README or a page of the manual.
type document struct {
	path string
	text string
}

func documents(t *testing.T) []document {
	t.Helper()
	paths := []string{filepath.Join(root, "README.md")}
	for _, topic := range manual.Topics() {
		paths = append(paths, topic.Name+".md")
	}
	docs := make([]document, len(paths))
	for i, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		docs[i] = document{path, string(text)}
	}
	return docs
}

// block is a piece of code between two fences.
type block struct {
	language string
	file     string // its name, of "```yaml file=NAME"
	line     int    // of the document, where its text begins
	text     string
}

// blocks returns those of a language; "" for all.
func (d document) blocks(language string) (found []block) {
	var b *block
	for i, line := range strings.SplitAfter(d.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case isFence && b == nil:
			words, file, _ := strings.Cut(fence, " file=")
			b = &block{language: words, file: file, line: i + 2}
		case isFence:
			if language == "" || b.language == language {
				found = append(found, *b)
			}
			b = nil
		case b != nil:
			b.text += line
		}
	}
	return found
}

// prose is the document without its code.
func (d document) prose() string {
	text := d.text
	for _, b := range d.blocks("") {
		text = strings.Replace(text, b.text, "", 1)
	}
	return text
}

func TestEveryFileIsAPage(t *testing.T) {
	files, err := filepath.Glob("*.md")
	require.NoError(t, err)
	assert.Len(t, manual.Topics(), len(files), "a page is missing in the order of topics")
}

func TestReadmeIsShort(t *testing.T) {
	assert.LessOrEqual(t, strings.Count(documents(t)[0].text, "\n"), 200, "the rest belongs to a page of the manual")
}

func TestTheHouseIsComplete(t *testing.T) {
	for _, pattern := range []string{"*/*.go", "*/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			folder := filepath.Base(filepath.Dir(file))
			assert.Contains(t, documents(t)[0].text, "`"+folder+"`", file)
		}
	}
}

func TestEveryBlockHasALanguage(t *testing.T) {
	known := []string{"go", "sh", "console", "yaml", "ini", "text", "json"}
	for _, d := range documents(t) {
		for _, b := range d.blocks("") {
			assert.Contains(t, known, b.language, "%s:%d", d.path, b.line-1)
		}
	}
}

// A cell that a row has beside those of its table's header is not shown: a | within a cell is
// written \|, also in code.
func TestEveryRowHasTheCellsOfItsTable(t *testing.T) {
	cells := func(row string) int { return strings.Count(strings.ReplaceAll(row, `\|`, ""), "|") }
	for _, d := range documents(t) {
		want := 0 // outside a table
		for line := range strings.Lines(d.prose()) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "|") {
				want = 0
				continue
			}
			if want == 0 {
				want = cells(line)
			}
			assert.Equal(t, want, cells(line), "%s: %s", d.path, line)
		}
	}
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped        = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchors are the names of a document's headings, as GitHub makes them.
func (d document) anchors() map[string]bool {
	all := map[string]bool{}
	for _, m := range headingPattern.FindAllStringSubmatch(d.prose(), -1) {
		all[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t)
	byPath := map[string]document{}
	for _, d := range docs {
		byPath[absolute(t, d.path)] = d
	}
	for _, d := range docs {
		for _, m := range linkPattern.FindAllStringSubmatch(d.prose(), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := absolute(t, d.path)
			if file != "" {
				target = absolute(t, filepath.Join(filepath.Dir(d.path), file))
			}
			if anchor != "" {
				assert.True(t, byPath[target].anchors()[anchor], "%s: %s has no heading %q", d.path, target, anchor)
				continue
			}
			_, err := os.Stat(target)
			require.NoError(t, err, d.path)
			if d.path != docs[0].path {
				assert.Contains(t, byPath, target, "%s: a page links to pages only: readers of the binary have no other files", d.path)
			}
		}
	}
}
