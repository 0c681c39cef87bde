"""A model family and a backend of a third party."""
