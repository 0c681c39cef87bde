"""The passes of one window of a video, with the noise of another: it is keyed by slots of the whole video."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.prepared import Prepared
from diagplan.backends.sampling import Greedy, keys_for

__all__ = ["moved", "targets_of"]

Ids = NDArray[np.int64]


def targets_of(prepared: Prepared) -> list[Ids]:
    """The slots that each pass chooses, for ``moved``."""
    return [prepared.runtime.numpy(p.target) for p in prepared.passes]


def moved(prepared: Prepared, targets: Sequence[Ids], by: int) -> Prepared:
    """The same passes, with the noise of slots ``by`` further on.

    Args:
        prepared: laid out for the beginning of a video; its seed and samples key the noise.
        targets: from ``targets_of``.
        by: slots.
    """
    if isinstance(prepared.sampler, Greedy):
        return prepared
    seeds = np.broadcast_to(np.array(prepared.seed, dtype=np.int64), prepared.batch)
    put = prepared.runtime.put
    keys = (put(keys_for(seeds, prepared.samples, target + by)) for target in targets)
    return replace(prepared, passes=tuple(p._replace(keys=k) for p, k in zip(prepared.passes, keys, strict=True)))
