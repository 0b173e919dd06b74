"""A real nginx in front of a service.

with Nginx(tmp_path / "nginx", service.url()) as nginx:
    httpx.get(f"http://127.0.0.1:{nginx.port}/livez")
"""

from __future__ import annotations

from tests.support.proxies.front_proxy import FrontProxy


class Nginx(FrontProxy):
    """`upstream` is the URL of the service."""

    program = "nginx"
    arguments = ("-p", "{directory}", "-c")
    configuration = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; }}
    }}
}}
"""
