// Gin with sync.Map, or with Redis: the kind of service that Verve replaces, with the same answers.
//
//	go build -o peer-gin . && taskset -c 0 ./peer-gin -listen 127.0.0.1:8102
//	taskset -c 0 ./peer-gin -listen 127.0.0.1:8102 -redis 127.0.0.1:6379
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

func accept(ids *counter) gin.HandlerFunc {
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

func main() {
	listen := flag.String("listen", "127.0.0.1:8102", "address to listen on")
	window := flag.Duration("window", time.Minute, "length of a window")
	store := flag.String("redis", "", "address of a Redis that remembers the ids")
	flag.Parse()

	stopping, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	open := func(time.Time) seen { return new(inMemory) }
	if *store != "" {
		client := redis.NewClient(&redis.Options{Addr: *store, PoolSize: connections})
		open = func(start time.Time) seen { return newInRedis(client, start, *window) }
	}
	ids := newCounter(*window, open)
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
