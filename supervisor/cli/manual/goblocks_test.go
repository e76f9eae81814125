package manual_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const preludeFile = "testdata/prelude.go"

// The Go blocks of a page are one package, together with the prelude: what a block
// declares, later ones can use. A block of statements is the body of a function
// that returns an error. A block with a package clause is a program of its own.
// Variables and imports that a block does not use are no mistake.
func TestGoBlocksCompile(t *testing.T) {
	prelude, err := os.ReadFile(preludeFile)
	require.NoError(t, err)
	packages := exported(t)
	for _, d := range documents(t) {
		var page []string
		for _, b := range d.blocks("go") {
			at := fmt.Sprintf("//line %s:%d\n", strings.TrimPrefix(d.path, root+"/"), b.line)
			if strings.HasPrefix(b.text, "package ") {
				compile(t, packages, nil, at+b.text)
				continue
			}
			page = append(page, inFile(at, b.text, imports(t, prelude)))
		}
		compile(t, packages, prelude, page...)
	}
}

// inFile makes a file of a block of declarations or of statements.
func inFile(at, block, imports string) string {
	head := "package docs\n" + imports + "\n"
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package docs\n"+block, 0); err == nil {
		return head + at + block
	}
	return head + "func _() error {\n" + at + block + "\nreturn nil\n}\n"
}

// imports returns the import declaration of the prelude.
func imports(t *testing.T, prelude []byte) string {
	t.Helper()
	_, rest, found := bytes.Cut(prelude, []byte("import ("))
	require.True(t, found)
	list, _, _ := bytes.Cut(rest, []byte(")"))
	return "import (" + string(list) + ")"
}

// compile checks files as one package, and reports what is wrong with them.
func compile(t *testing.T, packages types.Importer, prelude []byte, sources ...string) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	for _, source := range sources {
		file, err := parser.ParseFile(set, "block.go", source, parser.SkipObjectResolution)
		if assert.NoError(t, err) {
			files = append(files, file)
		}
	}
	if prelude != nil {
		file, err := parser.ParseFile(set, preludeFile, prelude, parser.SkipObjectResolution)
		require.NoError(t, err)
		leaveOut(file, declared(files))
		files = append(files, file)
	}
	config := types.Config{Importer: packages, Error: func(err error) {
		if e, ok := errors.AsType[types.Error](err); !ok || !e.Soft {
			t.Error(err)
		}
	}}
	_, _ = config.Check("docs", set, files, nil)
}

// declared returns the names that the files declare at their top level.
func declared(files []*ast.File) map[string]bool {
	names := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			for _, name := range namesOf(d) {
				names[name] = true
			}
		}
	}
	return names
}

func namesOf(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

// leaveOut removes the declarations of names that are declared elsewhere.
func leaveOut(f *ast.File, elsewhere map[string]bool) {
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		return slices.ContainsFunc(namesOf(d), func(name string) bool { return elsewhere[name] && name != "_" })
	})
}

// exported returns an importer of the packages that the prelude imports, as the
// build cache has them.
func exported(t *testing.T) types.Importer {
	t.Helper()
	files, err := exportFiles()
	require.NoError(t, err)
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

// exportFiles returns the file of each package that the prelude needs.
var exportFiles = sync.OnceValues(func() (map[string]string, error) {
	paths, err := preludeImports()
	if err != nil {
		return nil, err
	}
	args := append([]string{"list", race, "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}, paths...)
	output, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(output)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return files, nil
})

// preludeImports returns the paths of the packages that the prelude imports.
func preludeImports() (paths []string, err error) {
	prelude, err := parser.ParseFile(token.NewFileSet(), preludeFile, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	for _, i := range prelude.Imports {
		paths = append(paths, strings.Trim(i.Path.Value, `"`))
	}
	return paths, nil
}
