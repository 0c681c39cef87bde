"""Plans to look at: in the terminal, as PNG, SVG and GIF, and in words."""

__all__: list[str] = []
