"""What several commands share: options, what they ask for, what is printed."""

__all__: list[str] = []
