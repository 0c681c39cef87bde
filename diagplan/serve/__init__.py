"""Clips made over HTTP: jobs on disk before they are accepted, batches, events, and an end that loses none."""

__all__: list[str] = []
