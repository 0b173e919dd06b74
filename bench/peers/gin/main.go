// Gin with sync.Map, or with a store: the kind of service that Verve replaces, with the same answers.
//
//	go build -o peer-gin . && taskset -c 0 ./peer-gin -listen 127.0.0.1:8102
//	taskset -c 0 ./peer-gin -listen 127.0.0.1:8102 -redis 127.0.0.1:6379
//	taskset -c 0 ./peer-gin -listen 127.0.0.1:8102 -redis 127.0.0.1:6379 -set
//	taskset -c 0 ./peer-gin -listen 127.0.0.1:8102 -statsd 127.0.0.1:8125 -protocol udp
//
// The runtime takes the number of its threads from the cores that it may use.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
)

// connections to Redis: enough that no request waits for one.
const connections = 64

// tally counts ids, or has them counted elsewhere.
type tally interface {
	add(ctx context.Context, id int64) error
	// run logs the count of each window, if it is counted here, until stop is closed.
	run(stop <-chan struct{})
}

func accept(ids tally) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		id, err := strconv.ParseInt(c.Query("id"), 10, 64)
		if err != nil {
			c.String(http.StatusBadRequest, "failed")
			return
		}
		if err := ids.add(c.Request.Context(), id); err != nil {
			c.String(http.StatusServiceUnavailable, "failed")
			return
		}
		c.String(http.StatusOK, "ok")
	}
}

// newTally counts in this process; with a Redis at store it asks there which ids are new, or keeps
// them there in a set.
func newTally(window time.Duration, store string, set bool) tally {
	if store == "" {
		return newCounter(window, func(time.Time) seen { return new(inMemory) })
	}
	client := redis.NewClient(&redis.Options{Addr: store, PoolSize: connections})
	if set {
		return &inSet{client: client, window: window}
	}
	return newCounter(window, func(start time.Time) seen {
		return newInRedis(client, start, window)
	})
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8102", "address to listen on")
	window := flag.Duration("window", time.Minute, "length of a window")
	store := flag.String("redis", "", "address of a Redis that remembers the ids")
	set := flag.Bool("set", false, "add the ids to one set per window, instead of one key per id")
	statsd := flag.String("statsd", "", "address of a statsd that counts the ids")
	protocol := flag.String("protocol", "udp", "udp or tcp, to statsd")
	flag.Parse()

	stopping, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	ids := newTally(*window, *store, *set)
	if *statsd != "" {
		var err error
		if ids, err = newStatsd(*protocol, *statsd); err != nil {
			log.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		ids.run(stop)
		close(stopped)
	}()

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/api/verve/accept", accept(ids))
	server := &http.Server{Addr: *listen, Handler: router}
	go func() {
		<-stopping.Done()
		// Requests in flight end before the last count.
		deadline, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = server.Shutdown(deadline)
		close(stop)
	}()

	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}
