package main

import (
	"log"
	"sync"
	"sync/atomic"
	"time"
)

// counter holds the distinct ids of the current minute in a sync.Map, as the service that Verve
// replaces does. Unlike it, the count is exact: readers of the lock are the requests, so that the
// turn of the minute sees none half done.
type counter struct {
	turn   sync.RWMutex
	seen   *sync.Map
	unique atomic.Int64
	window time.Duration
	start  time.Time
}

func newCounter(window time.Duration) *counter {
	return &counter{seen: new(sync.Map), window: window, start: time.Now().Truncate(window)}
}

// add counts id in the current window and says whether it was new.
func (c *counter) add(id int64) bool {
	c.turn.RLock()
	defer c.turn.RUnlock()
	// A load first: most maps of this kind are read far more than written, and it allocates nothing.
	if _, ok := c.seen.Load(id); ok {
		return false
	}
	if _, loaded := c.seen.LoadOrStore(id, struct{}{}); loaded {
		return false
	}
	c.unique.Add(1)
	return true
}

// rotate starts the window at start with an empty map and logs the count of the one before.
func (c *counter) rotate(start time.Time) {
	c.turn.Lock()
	count := c.unique.Swap(0)
	began := c.start
	c.seen = new(sync.Map)
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
