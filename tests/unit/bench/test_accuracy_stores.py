from __future__ import annotations

import socket
import threading
import time

import pytest

from bench.accuracy.datagrams import DatagramProxy
from bench.accuracy.stores import RefusingProxy


def test_a_datagram_is_forwarded_or_lost_and_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker:
        taker.bind(("127.0.0.1", 0))
        taker.settimeout(10)
        with (
            DatagramProxy(taker.getsockname()[1]) as proxy,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            sender.connect(("127.0.0.1", proxy.port))
            sender.send(b"first")
            assert taker.recv(100) == b"first"
            proxy.lose = 1.0
            sender.send(b"lost")
            while proxy.lost < 1:
                time.sleep(0.001)
            proxy.lose = 0.0
            proxy.go_away()
            sender.send(b"lost")
            while proxy.lost < 2:
                time.sleep(0.001)
            proxy.come_back()
            sender.send(b"last")
            assert taker.recv(100) == b"last"


def test_a_store_that_is_away_refuses_connections_until_it_is_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                with one:
                    one.sendall(one.recv(100))

        threading.Thread(target=echo, daemon=True).start()
        with RefusingProxy(server.getsockname()[1]) as proxy:

            def asked() -> bytes:
                with socket.create_connection(("127.0.0.1", proxy.port), 10) as one:
                    one.sendall(b"hello")
                    return one.recv(100)

            assert asked() == b"hello"
            proxy.go_away()
            with pytest.raises(ConnectionRefusedError):
                asked()
            proxy.come_back()
            assert asked() == b"hello"
        server.shutdown(socket.SHUT_RDWR)
