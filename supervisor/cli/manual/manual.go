// Package manual holds the manual, with one Markdown page per topic, and the command
// that shows it.
package manual

import (
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/stellarfw/stellar/supervisor/cli/terminal"
)

//go:embed *.md
var files embed.FS

// order lists the pages in the order in which a newcomer reads them.
var order = []string{
	"embed", "tasks", "groups", "rates", "batches", "steps", "steps-compared", "payloads", "cache", "calls",
	"operate", "events", "metrics", "tracing", "connect", "configuration", "command-tasks", "one-machine", "deployment",
	"guardian", "upgrade", "exit-codes", "security", "guarantees", "speed",
}

// author is the name of the program for which the pages were written.
const author = "stellar"

// Topic is one page of the manual.
type Topic struct {
	Name    string
	Summary string // first sentence of the page
	text    []byte
}

// Topics lists the pages in the order in which a newcomer reads them.
func Topics() []Topic {
	topics := make([]Topic, 0, len(order))
	for _, name := range order {
		text, err := files.ReadFile(name + ".md")
		if err != nil {
			panic(err) // the page is part of the binary
		}
		topics = append(topics, Topic{Name: name, Summary: summary(string(text)), text: text})
	}
	return topics
}

// summary returns the first sentence below the title.
func summary(page string) string {
	_, body, _ := strings.Cut(page, "\n")
	paragraph, _, _ := strings.Cut(strings.TrimSpace(body), "\n\n")
	sentence, _, _ := strings.Cut(strings.Join(strings.Fields(paragraph), " "), ". ")
	return strings.TrimSuffix(sentence, ".")
}

// writeList writes the topics, each with its summary, in lines of at most width columns.
func writeList(w io.Writer, width int, program string, topics []Topic) error {
	var b strings.Builder
	for _, t := range topics {
		name := fmt.Sprintf("  %-14s  ", t.Name)
		for _, line := range terminal.Indent(terminal.Wrap(t.Summary, width-len(name)), name, strings.Repeat(" ", len(name))) {
			b.WriteString(line + "\n")
		}
	}
	fmt.Fprintf(&b, "\nRead one with \"%s manual TOPIC\".\n", program)
	if program != author {
		fmt.Fprintf(&b, "Where a page says %s, type %s.\n", author, program)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
