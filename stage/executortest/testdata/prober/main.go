// Prober is the program of the stages on which executortest runs steps. Each
// argument list is a few words that it executes one after the other, separated by
// the word "then".
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 2 && args[0] == "-c" { // as a shell
		args = strings.Fields(os.Expand(args[1], os.Getenv))
	}
	for len(args) > 0 {
		n := 0
		for n < len(args) && args[n] != "then" {
			n++
		}
		if err := do(args[0], args[1:n]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(9)
		}
		args = args[min(n+1, len(args)):]
	}
}

func do(verb string, args []string) error {
	switch verb {
	case "true":
		return nil
	case "exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "say":
		fmt.Println(strings.Join(args, " "))
	case "warn":
		fmt.Fprint(os.Stderr, strings.Join(args, " ")) // no line end
	case "write":
		if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
			return err
		}
		return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")), 0o644)
	case "read":
		content, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(content)
		return err
	case "remove":
		return os.Remove(args[0])
	case "attempt": // fails until it was called n times
		before, err := os.ReadFile(args[0])
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.WriteFile(args[0], append(before, 'x'), 0o644); err != nil {
			return err
		}
		if n, err := strconv.Atoi(args[1]); err != nil || len(before)+1 < n {
			return fmt.Errorf("attempt %d", len(before)+1)
		}
	case "env":
		fmt.Println(os.Getenv(args[0]))
	case "pwd":
		dir, err := os.Getwd()
		fmt.Println(dir)
		return err
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "many":
		n, err := strconv.Atoi(args[0])
		for i := range n {
			fmt.Println("line", i)
		}
		return err
	case "wait":
		time.Sleep(time.Hour)
	default:
		return fmt.Errorf("prober: unknown verb %q", verb)
	}
	return nil
}
