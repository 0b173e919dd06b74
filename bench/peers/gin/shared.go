package main

import (
	"context"
	"log"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// late is how long after its end the count of a window is read, so that requests in flight at the
// end are in it.
const late = time.Second

// inSet keeps the ids of a window in one set of Redis, for many processes: one SADD and one EXPIRE
// per request, in one round trip. All processes log the count of the set.
type inSet struct {
	client *redis.Client
	window time.Duration
}

func (s *inSet) key(start time.Time) string {
	return "ids:" + strconv.FormatInt(start.Unix(), 10)
}

func (s *inSet) add(ctx context.Context, id int64) error {
	key := s.key(time.Now().Truncate(s.window))
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SAdd(ctx, key, id)
		pipe.Expire(ctx, key, 5*s.window)
		return nil
	})
	return err
}

// report logs the count of the window at start, and returns whether Redis gave it.
func (s *inSet) report(start time.Time) bool {
	count, err := s.client.SCard(context.Background(), s.key(start)).Result()
	if err != nil {
		log.Printf("window_start=%d the count cannot be read: %v", start.Unix(), err)
		return false
	}
	log.Printf("window_start=%d Unique requests in the last minute: %d", start.Unix(), count)
	return true
}

// run logs the count of each window that has ended, until stop is closed, and then that of the open
// one.
func (s *inSet) run(stop <-chan struct{}) {
	start := time.Now().Truncate(s.window)
	for {
		select {
		case <-time.After(time.Until(start.Add(s.window).Add(late))):
			for !s.report(start) {
				time.Sleep(late)
			}
			start = start.Add(s.window)
		case <-stop:
			s.report(start)
			s.report(time.Now().Truncate(s.window))
			return
		}
	}
}
