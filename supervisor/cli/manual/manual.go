// Package manual holds the manual, one Markdown page for each question of a
// reader, and the command that shows it.
package manual

import (
	"embed"
	"fmt"
	"io"
	"strings"
)

//go:embed *.md
var files embed.FS

// order lists the pages in the order in which a newcomer reads them.
var order = []string{
	"tasks", "cache", "calls", "operate", "connect", "configuration", "command-tasks",
	"deployment", "exit-codes", "security", "guarantees",
}

// Topic is one page of the manual.
type Topic struct {
	Name    string
	Summary string // the first sentence of the page: what it answers
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

// writeList writes the topics, each with its summary.
func writeList(w io.Writer, program string, topics []Topic) error {
	var b strings.Builder
	for _, t := range topics {
		fmt.Fprintf(&b, "  %-14s  %s\n", t.Name, t.Summary)
	}
	_, err := fmt.Fprintf(w, "%s\nRead one with \"%s manual TOPIC\".\n", b.String(), program)
	return err
}
