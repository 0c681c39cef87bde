"""Train an image tokenizer and a world model on recorded clips. Needs the extras ``torch``, ``video`` and ``train``."""

__all__: list[str] = []
