"""Where position slots lie, as functions of layouts that go by a name: what an exported model carries of them.

Each is a ``coordinates`` of ``diagplan.adapters.contract.Model``: of the layouts of a chain so far it gives, for every
slot of the last one, int64 [positions, axes]. No torch is needed.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown

__all__ = ["COORDINATES", "coordinates_name", "coordinates_named", "row_column"]

Ints = NDArray[np.int64]


def row_column(*layouts: Layout) -> Ints:
    """Row, column and 1 for a cell; 0, 0 and 0 for what is none, which a model may leave without any rotation.

    Frames lie one below the other.

    >>> row_column(Layout(frames=1, rows=2, cols=2, lead=1)).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    table = np.zeros((layouts[-1].positions, 3), dtype=np.int64)
    for layout in layouts:
        slots = layout.cell_slots(prompt=True)
        frame, row, col = np.indices(slots.shape)
        table[slots] = np.stack((frame * layout.rows + row, col, np.ones_like(col)), axis=-1)
    return table


#: Every function by its name, and how many axes its tables have.
COORDINATES: Mapping[str, tuple[Callable[..., Ints], int]] = MappingProxyType({"row-column": (row_column, 3)})


def coordinates_named(name: str | None, where: object) -> tuple[Callable[..., Ints] | None, int]:
    """The function of a name and the axes of its tables; of none: none, and 0.

    Raises:
        DocumentError: no function has that name; ``where`` it stood.
    """
    if name is None:
        return None, 0
    if name not in COORDINATES:
        raise DocumentError(
            f"expected coordinates out of {', '.join(COORDINATES)}, got {shown(name)} in {where}. It was exported by "
            "another version of diagplan. Export it again: diagplan export-onnx."
        )
    return COORDINATES[name]


def coordinates_name(function: Any) -> str | None:
    """The name of a model's ``coordinates``; ``None``: it is none of these."""
    return next((name for name, (known, _) in COORDINATES.items() if known is function), None)
