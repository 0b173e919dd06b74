"""The event loop of a thread that runs cluster work, and the end of its tasks."""
