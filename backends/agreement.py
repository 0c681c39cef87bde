"""What the processes that one model is spread over must agree on: the tokens, frame by frame and pass by pass.

All of them get the same logits and draw the same keyed noise, so they choose the same ids. Whether they do is
checked by a checksum, eight bytes a rank: ranks that drift apart would go on with other tokens, or wait for each other
for ever.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, ranks_of
from diagplan.planner.errors import RanksError

__all__ = ["require_agreement", "slowest_rank"]


def require_agreement(model: Model, what: str, *arrays: NDArray[np.int64]) -> None:
    """Check that all ranks have the same whole numbers; without ranks nothing is done.

    Args:
        model: the model.
        what: what they are, for the error: ``"tokens of frame 3"``.
        arrays: of this rank.

    Raises:
        RanksError: others than rank 0 has, on every rank.
    """
    ranks = ranks_of(model)
    if ranks is None:
        return
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array, dtype=np.int64).data, checksum)
    all_ = ranks.numbers(checksum)
    others = [rank for rank, number in enumerate(all_) if number != all_[0]]
    if others:
        raise RanksError(
            f"expected the same {what} on all {ranks.world} ranks, got others than rank 0's on rank(s) "
            f"{', '.join(map(str, others))}. All draw from the same logits by the same noise. Use one kind of device "
            "and one version of torch on all ranks, and start anew."
        )


def slowest_rank(model: Model, seconds: float) -> float:
    """The most seconds that any rank took, to a microsecond; without ranks ``seconds`` as they are."""
    ranks = ranks_of(model)
    return seconds if ranks is None else max(ranks.numbers(round(1e6 * seconds))) / 1e6
