"""A real HAProxy in front of a service.

with HAProxy(tmp_path / "haproxy", service.port) as proxy:
    httpx.get(f"http://127.0.0.1:{proxy.port}/livez")
"""

from __future__ import annotations

from tests.support.proxies.front_proxy import FrontProxy


class HAProxy(FrontProxy):
    """`upstream` is the port of the service."""

    program = "haproxy"
    arguments = ("-db", "-f")
    configuration = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen verve
  bind 127.0.0.1:{port}
  server one 127.0.0.1:{upstream}
"""
