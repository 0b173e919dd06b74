"""The proxies of the pairs: they keep their connections to the service, and share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.proxies.haproxy import HAProxy
from tests.support.proxies.nginx import Nginx

if TYPE_CHECKING:
    from tests.support.proxies.front_proxy import FrontProxy


class KeepingNginx(Nginx):
    """nginx that keeps its connections to the service; `upstream` is a port."""

    configuration = Nginx.configuration.replace(
        "    server {{",
        "    upstream verve {{ server 127.0.0.1:{upstream}; keepalive 8; }}\n    server {{",
    ).replace(
        "proxy_pass {upstream};",
        'proxy_pass http://verve; proxy_http_version 1.1; proxy_set_header Connection "";'
        " proxy_request_buffering off;",
    )


class KeepingHAProxy(HAProxy):
    """HAProxy that uses any connection to the service for any caller."""

    configuration = HAProxy.configuration.replace("  mode http", "  mode http\n  http-reuse always")


FRONTS: tuple[type[FrontProxy], ...] = (KeepingNginx, KeepingHAProxy)
