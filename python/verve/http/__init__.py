"""The service over HTTP: what is asked and answered, the same under every server."""
