"""Games to record: a protocol, Crafter and ViZDoom behind it, an explorer that plays them, and clips on disk."""

__all__: list[str] = []
