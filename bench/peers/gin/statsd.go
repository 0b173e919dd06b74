package main

import (
	"context"
	"net"
	"strconv"
	"sync"
)

// metric is the set of statsd that the ids go to.
const metric = "unique:"

// datagrams sends each id to a set of statsd in a datagram of its own; statsd does not answer.
type datagrams struct{ socket net.Conn }

func (d *datagrams) add(_ context.Context, id int64) error {
	_, err := d.socket.Write([]byte(metric + strconv.FormatInt(id, 10) + "|s"))
	return err
}

func (d *datagrams) run(stop <-chan struct{}) { <-stop }

// lines sends the ids over one connection, a line each; statsd does not answer here either.
type lines struct {
	address string
	turn    sync.Mutex
	socket  net.Conn
}

func (l *lines) add(_ context.Context, id int64) error {
	line := []byte(metric + strconv.FormatInt(id, 10) + "|s\n")
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.socket != nil {
		if _, err := l.socket.Write(line); err == nil {
			return nil
		}
		l.socket.Close()
	}
	// The connection is gone, or there was none: one try with a new one.
	var err error
	if l.socket, err = net.Dial("tcp", l.address); err != nil {
		l.socket = nil
		return err
	}
	_, err = l.socket.Write(line)
	return err
}

func (l *lines) run(stop <-chan struct{}) { <-stop }

// newStatsd sends ids to the statsd at address by udp or tcp.
func newStatsd(protocol, address string) (tally, error) {
	if protocol == "tcp" {
		return &lines{address: address}, nil
	}
	socket, err := net.Dial(protocol, address)
	return &datagrams{socket}, err
}
