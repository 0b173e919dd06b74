// Go's sync.Map, measured like the tables in Rust: verve-table-go OPERATION [THREADS [DISTINCT]].
//
// Operations are single, growing and memory; it cannot take many ids at once. ../src/main.rs
// describes the operations and the form of the result.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ids gives as many ids as operations, distinct of them different, evenly often, in random order.
func ids(operations, distinct int) []int64 {
	all := make([]int64, operations)
	for n := range all {
		all[n] = scramble(uint64(n % distinct))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// scramble makes a 64-bit id from a number, one to one (the finalizer of SplitMix64).
func scramble(number uint64) int64 {
	mixed := number * 0x9e3779b97f4a7c15
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb
	return int64(mixed ^ (mixed >> 31))
}

// insert adds all ids, shared among threads, and returns the number of new ones.
func insert(table *sync.Map, all []int64, threads int) int64 {
	var group sync.WaitGroup
	var unique atomic.Int64
	share := (len(all) + threads - 1) / threads
	for start := 0; start < len(all); start += share {
		mine := all[start:min(start+share, len(all))]
		group.Go(func() {
			added := int64(0)
			for _, id := range mine {
				if _, loaded := table.LoadOrStore(id, struct{}{}); !loaded {
					added++
				}
			}
			unique.Add(added)
		})
	}
	group.Wait()
	return unique.Load()
}

func timed(table *sync.Map, all []int64, threads, distinct int) map[string]any {
	began := time.Now()
	unique := insert(table, all, threads)
	seconds := time.Since(began).Seconds()
	count := length(table)
	return map[string]any{
		"seconds":    seconds,
		"per_second": float64(len(all)) / seconds,
		"count":      count,
		"right":      count == distinct && unique == int64(distinct),
	}
}

func memory(all []int64, distinct int) map[string]any {
	before := residentBytes()
	table := new(sync.Map)
	insert(table, all, 1)
	taken := residentBytes() - before
	count := length(table)
	return map[string]any{
		"bytes":        taken,
		"bytes_per_id": float64(taken) / float64(distinct),
		"count":        count,
		"right":        count == distinct,
	}
}

func length(table *sync.Map) int {
	count := 0
	table.Range(func(any, any) bool {
		count++
		return true
	})
	return count
}

// residentBytes is the resident memory without what the collector could give back.
func residentBytes() int {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}

// number is an argument, or its default when it is left out.
func number(index, otherwise int) int {
	if len(os.Args) <= index {
		return otherwise
	}
	value, err := strconv.Atoi(os.Args[index])
	if err != nil || value < 1 {
		usage()
	}
	return value
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: verve-table-go single|growing|memory [THREADS [DISTINCT]]")
	os.Exit(2)
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	operation, threads, distinct := os.Args[1], number(2, 1), number(3, 5_000_000)
	all := ids(2*distinct, distinct)
	table := new(sync.Map)
	var result map[string]any
	switch operation {
	case "single":
		// The collector keeps the memory of discarded maps, so it has been used before.
		insert(table, all, 1)
		table.Clear()
		runtime.GC()
		result = timed(table, all, threads, distinct)
	case "growing":
		result = timed(table, all, threads, distinct)
	case "memory":
		result = memory(all, distinct)
	default:
		usage()
	}
	result["table"], result["operation"] = "sync.Map", operation
	result["threads"], result["distinct"] = threads, distinct
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		panic(err)
	}
	if result["right"] != true {
		os.Exit(1)
	}
}
