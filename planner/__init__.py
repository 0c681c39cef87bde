"""The planner: integers in, a static decode plan out. NumPy and networkx only."""

__all__: list[str] = []
