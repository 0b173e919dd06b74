package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// inMemory is a sync.Map, for one process.
type inMemory struct{ ids sync.Map }

func (m *inMemory) add(_ context.Context, id int64) (bool, error) {
	// A load first: most maps of this kind are read far more than written, and a load allocates
	// nothing.
	if _, ok := m.ids.Load(id); ok {
		return false, nil
	}
	_, loaded := m.ids.LoadOrStore(id, struct{}{})
	return !loaded, nil
}

// inRedis is one key per id and window, for many processes: one SET NX EX per request.
type inRedis struct {
	client *redis.Client
	prefix string
	expiry time.Duration
}

func newInRedis(client *redis.Client, start time.Time, window time.Duration) *inRedis {
	prefix := "seen:" + strconv.FormatInt(start.Unix(), 10) + ":"
	return &inRedis{client: client, prefix: prefix, expiry: 2 * window}
}

func (r *inRedis) add(ctx context.Context, id int64) (bool, error) {
	key := r.prefix + strconv.FormatInt(id, 10)
	return r.client.SetNX(ctx, key, 1, r.expiry).Result()
}
