"""What a generated world is worth: picture quality, tokens, and whether it moves as the player moved."""

__all__: list[str] = []
