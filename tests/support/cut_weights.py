"""One rank's part of weights that are in memory, as the loaders read it of files."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from diagplan.adapters.parallel_cuts import Cut

__all__ = ["CutWeights"]


class CutWeights(Mapping[str, Tensor]):
    """One rank's part of weights that are in memory.

    Args:
        weights: whole, by name.
        cuts: of those that are cut.
    """

    def __init__(self, weights: Mapping[str, Tensor], cuts: Mapping[str, Cut]) -> None:
        self._weights, self._cuts = weights, cuts

    def __getitem__(self, name: str) -> Tensor:
        tensor, cut = self._weights[name], self._cuts.get(name)
        return tensor if cut is None else cut.of(tensor).contiguous()

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
