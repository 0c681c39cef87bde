"""One model family each: geometry, weights, positions, allowed ids, and the forward contract."""

__all__: list[str] = []
