"""New ids on their way to Redis, and the requests that wait for their acknowledgement."""
