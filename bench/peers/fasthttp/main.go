// fasthttp with xsync.Map: the fast way in Go, with the same answers.
//
//	go build -o peer-fasthttp . && taskset -c 0 ./peer-fasthttp -listen 127.0.0.1:8107
//
// The runtime takes the number of its threads from the cores that it may use.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

func accept(ids *counter) fasthttp.RequestHandler {
	return func(c *fasthttp.RequestCtx) {
		if string(c.Path()) != "/api/verve/accept" {
			c.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		c.Response.Header.Set("Cache-Control", "no-store")
		id, err := strconv.ParseInt(string(c.QueryArgs().Peek("id")), 10, 64)
		if err != nil {
			c.SetStatusCode(fasthttp.StatusBadRequest)
			c.SetBodyString("failed")
			return
		}
		ids.add(id)
		c.SetBodyString("ok")
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8107", "address to listen on")
	window := flag.Duration("window", time.Minute, "length of a window")
	flag.Parse()

	stopping, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	ids := newCounter(*window)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		ids.run(stop)
		close(stopped)
	}()

	server := &fasthttp.Server{Handler: accept(ids), NoDefaultServerHeader: true}
	go func() {
		<-stopping.Done()
		// Requests in flight end before the last count.
		deadline, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = server.ShutdownWithContext(deadline)
		close(stop)
	}()

	if err := server.ListenAndServe(*listen); err != nil {
		log.Fatal(err)
	}
	<-stopped
}
