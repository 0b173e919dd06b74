"""Where hosts put their ids together: Redis, in one of two ways."""
