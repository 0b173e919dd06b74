"""The HTTP interface of the service: routes and answers, the same under every server."""
