"""A request and its answer, whatever the server: who may ask, and what its body may take."""
