// Command crosscheck type-checks the packages of a module, with their tests, for other
// systems. It finds what does not compile there in seconds: go vet finds the same and more,
// but compiles all dependencies for each system first.
//
//	crosscheck DIRECTORY-OF-THE-MODULE GOOS/GOARCH…
//
// The exit code is 1 if something does not compile, and 2 if that could not be found out.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: crosscheck DIRECTORY-OF-THE-MODULE GOOS/GOARCH…")
		os.Exit(2)
	}
	dir, err := filepath.Abs(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := 0
	sources := &sources{own: dir + string(filepath.Separator), set: token.NewFileSet(), parsed: map[string]*source{}}
	for _, target := range os.Args[2:] {
		began := time.Now()
		mistakes, err := sources.check(dir, target)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", target, err)
			os.Exit(2)
		}
		fmt.Printf("%s: %d mistakes, %.1f s\n", target, len(mistakes), time.Since(began).Seconds())
		for _, m := range mistakes {
			fmt.Println("  " + m)
			code = 1
		}
	}
	os.Exit(code)
}

// sources parses each file once for all systems. It drops the bodies of the dependencies'
// functions, which nobody checks.
type sources struct {
	own string // prefix of the paths of the module's own files
	set *token.FileSet

	mu     sync.Mutex
	parsed map[string]*source
}

type source struct {
	once sync.Once
	file *ast.File
	err  error
}

func (s *sources) parse(set *token.FileSet, path string, text []byte) (*ast.File, error) {
	s.mu.Lock()
	f := s.parsed[path]
	if f == nil {
		f = &source{}
		s.parsed[path] = f
	}
	s.mu.Unlock()
	f.once.Do(func() {
		f.file, f.err = parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if f.file == nil || strings.HasPrefix(path, s.own) {
			return
		}
		for _, d := range f.file.Decls {
			if function, ok := d.(*ast.FuncDecl); ok {
				function.Body = nil
			}
		}
	})
	return f.file, f.err
}

// check returns what does not compile for the system, as FILE:LINE:COLUMN: TEXT.
func (s *sources) check(dir, target string) ([]string, error) {
	system, processor, ok := strings.Cut(target, "/")
	if !ok {
		return nil, fmt.Errorf("it is not of the form GOOS/GOARCH")
	}
	roots, err := packages.Load(&packages.Config{
		// All of these together have the dependencies checked from source.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax,
		Dir: dir, Tests: true, Fset: s.set, ParseFile: s.parse,
		Env: append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "CGO_ENABLED=0"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	var all []string
	packages.Visit(roots, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			// Without the bodies of their functions, dependencies have mistakes too.
			if strings.HasPrefix(e.Pos, s.own) || e.Kind == packages.ListError {
				all = append(all, strings.TrimPrefix(e.Error(), s.own))
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all), nil // a package and its variant for tests have the same mistakes
}
