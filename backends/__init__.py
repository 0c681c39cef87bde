"""One runtime each, and no model: they walk the plan."""

__all__: list[str] = []
