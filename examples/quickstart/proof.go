package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

// fetch starts the image's own command in the sandbox, fetches its page over HTTP and stops it.
func fetch(ctx context.Context, res *stagewright.Result, stderr io.Writer) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	output, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := res.Run(ctx, stage.Process{Env: []string{"PORT=" + strconv.Itoa(port)}, Stdout: w, Stderr: stderr})
		w.Close()
		ended <- err
	}()
	// The server says when it listens; what it writes later is not wanted.
	lines := bufio.NewReader(output)
	if _, err := lines.ReadString('\n'); err != nil {
		return "", errors.Join(errors.New("the server ended before it listened"), <-ended)
	}
	go io.Copy(io.Discard, lines)
	page, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
	stop()
	if end := <-ended; !errors.Is(end, context.Canceled) {
		err = errors.Join(err, end)
	}
	return page, err
}

// freePort asks the kernel for a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// A transport of its own: no proxy of the environment stands between this program and its child.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
