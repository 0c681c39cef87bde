"""One suite over every model and every backend."""
