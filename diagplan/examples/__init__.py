"""Examples that the documentation runs: an adapter of one's own."""

__all__: list[str] = []
