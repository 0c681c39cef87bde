"""A world model played in a browser: the page, its protocol, players and their sessions."""

__all__: list[str] = []
