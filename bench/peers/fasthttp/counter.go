package main

import (
	"log"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// counter counts the distinct ids of the current window. The count is exact: readers of the lock
// are the requests, so a rollover meets no request in progress.
type counter struct {
	turn   *xsync.RBMutex
	seen   *xsync.Map[int64, struct{}]
	window time.Duration
	start  time.Time
}

func newCounter(window time.Duration) *counter {
	return &counter{
		turn:   xsync.NewRBMutex(),
		seen:   xsync.NewMap[int64, struct{}](),
		window: window,
		start:  time.Now().Truncate(window),
	}
}

// add counts id in the current window.
func (c *counter) add(id int64) {
	reader := c.turn.RLock()
	c.seen.LoadOrStore(id, struct{}{})
	c.turn.RUnlock(reader)
}

// rotate starts the window at start and logs the count of the window before.
func (c *counter) rotate(start time.Time) {
	c.turn.Lock()
	ended, began := c.seen, c.start
	// The next window gets room for as many ids, so that it does not grow under load.
	c.seen = xsync.NewMap[int64, struct{}](xsync.WithPresize(ended.Size()))
	c.start = start
	c.turn.Unlock()
	log.Printf("window_start=%d Unique requests in the last minute: %d", began.Unix(), ended.Size())
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
