"""Receives callbacks and prints the count of each: a place to send the first ones to.

    python examples/callback_receiver.py 9999
    VERVE_CALLBACK_ALLOW=127.0.0.1 verve serve
    curl 'http://127.0.0.1:8000/api/verve/accept?id=7&endpoint=http://127.0.0.1:9999/'

A real receiver also verifies the signature, see docs/guides/callbacks.md. It remembers the ids of
messages that it has seen, since a callback may come twice.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGEST_BODY = 1_000


class Receiver(BaseHTTPRequestHandler):
    """Answers one caller, on one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Take one callback. Anything but a status of 2xx has Verve send it again."""
        status = 204
        try:
            length = int(self.headers.get("content-length", ""))
            body = self.rfile.read(min(length, LARGEST_BODY))
            count = int(json.loads(body)["unique_request_count"])
        except (ValueError, KeyError, TypeError):
            status = 400
        else:
            message = self.headers.get("webhook-id", "-")
            print(f"callback {message}: {count} unique ids", flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base has it
        """Print nothing else."""


class Server(ThreadingHTTPServer):
    """One thread per connection, as many as Verve opens."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int, nargs="?", default=9999)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    with Server((arguments.host, arguments.port), Receiver) as server:
        print(f"receiving on http://{arguments.host}:{arguments.port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
