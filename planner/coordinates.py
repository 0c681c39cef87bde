"""Positions as data: where each slot of a sequence lies, by names that an export can carry.

A model whose rotation has several axes says what each of them counts; the table is made from layouts alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown

__all__ = ["AXES", "Coordinates"]

#: Name of an axis -> what it counts. A grid's base is the count of slots so far, in which a grid before it counts as
#: its longer side: GLM-Image's, and Qwen2-VL's multimodal rotation.
AXES = {
    "base": "slots so far; cells: their grid's base",
    "base+row": "slots so far; cells: their grid's base and their row",
    "base+col": "slots so far; cells: their grid's base and their column",
    "row": "cells: their row; other slots: 0",
    "col": "cells: their column; other slots: 0",
    "cell": "cells: 1; other slots: 0, which are not rotated",
}


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A model's ``coordinates``, see ``diagplan.adapters.contract.Model``.

    Args:
        axes: names of ``AXES``, in the order in which the model takes them.

    Raises:
        SpecError: no axis, or one of another name.

    >>> Coordinates(("base", "base+row", "base+col"))(Layout(frames=1, rows=1, cols=2, lead=2)).tolist()
    [[0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 2, 3]]
    """

    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = [name for name in self.axes if name not in AXES]
        if wrong or not self.axes:
            named = shown(wrong[0]) if wrong else "none"
            raise SpecError(f"expected axes from {', '.join(AXES)}, got {named}. Name what each axis counts.")

    def __call__(self, *layouts: Layout) -> NDArray[np.int64]:
        """Where each slot of the last layout lies, int64 [positions, axes].

        Args:
            layouts: of a chain so far: each begins with the positions of the one before. Cells of all are cells.
        """
        base = np.arange(layouts[-1].positions)
        row, col, cell = (np.zeros(layouts[-1].positions, dtype=np.int64) for _ in range(3))
        for layout in layouts:
            for slots in layout.cell_slots(prompt=True).astype(np.int64):
                first, last = int(slots.min()), int(slots.max())
                row[slots], col[slots] = np.indices(slots.shape)
                cell[slots] = 1
                begun = base[first]
                base[last + 1 :] += begun + max(slots.shape) - base[last] - 1
                base[slots] = begun
        counted = {"base": base, "base+row": base + row, "base+col": base + col, "row": row, "col": col, "cell": cell}
        return np.stack([counted[name] for name in self.axes], axis=1)
