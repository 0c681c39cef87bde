"""The border: pydantic documents for plans, and the published JSON Schema."""

__all__: list[str] = []
