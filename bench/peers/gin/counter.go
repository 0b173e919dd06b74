package main

import (
	"context"
	"log"
	"sync"
	"sync/atomic"
	"time"
)

// seen remembers the ids of one window.
type seen interface {
	// add returns whether id was new.
	add(ctx context.Context, id int64) (bool, error)
}

// counter counts the distinct ids of the current window, as the service that Verve replaces does.
// Unlike it, the count is exact: readers of the lock are the requests, so a rollover
// meets no request in progress.
type counter struct {
	turn   sync.RWMutex
	seen   seen
	open   func(start time.Time) seen
	unique atomic.Int64
	window time.Duration
	start  time.Time
}

// newCounter counts with the set that open returns for a window.
func newCounter(window time.Duration, open func(time.Time) seen) *counter {
	start := time.Now().Truncate(window)
	return &counter{seen: open(start), open: open, window: window, start: start}
}

// add counts id in the current window.
func (c *counter) add(ctx context.Context, id int64) error {
	c.turn.RLock()
	defer c.turn.RUnlock()
	isNew, err := c.seen.add(ctx, id)
	if isNew {
		c.unique.Add(1)
	}
	return err
}

// rotate starts the window at start and logs the count of the window before.
func (c *counter) rotate(start time.Time) {
	c.turn.Lock()
	count := c.unique.Swap(0)
	began := c.start
	c.seen = c.open(start)
	c.start = start
	c.turn.Unlock()
	log.Printf("window_start=%d Unique requests in the last minute: %d", began.Unix(), count)
}

// run rotates at every boundary of the wall clock until stop is closed, then logs the open window.
func (c *counter) run(stop <-chan struct{}) {
	for {
		next := c.start.Add(c.window)
		select {
		case <-time.After(time.Until(next)):
			c.rotate(time.Now().Truncate(c.window))
		case <-stop:
			c.rotate(next)
			return
		}
	}
}
