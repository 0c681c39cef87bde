"""How a picture's ids lie in the sequence of a language model that nobody has written an adapter for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.shown import shown

__all__ = ["Raster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A picture as a run of ids, row by row, in the sequence of a causal language model.

    Args:
        ids: ids low to high, less one, are the picture's.
        rows, cols: of the grid.
        between_rows: ids that stand between two rows, such as an end of line.
        lead: ids that every prompt ends with, such as begin-of-image.
        end: ids that follow the picture; they are never fed.

    Raises:
        SpecError: an empty range, or what is no id.

    >>> Raster(ids=(4, 8196), rows=32, cols=32).layout(lead=10).positions
    1034
    """

    ids: tuple[int, int]
    rows: int
    cols: int
    between_rows: tuple[int, ...] = ()
    lead: tuple[int, ...] = ()
    end: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, require_int(name, getattr(self, name), 1))
        for name in ("ids", "between_rows", "lead", "end"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list):
                raise SpecError(f"expected {name} as a list of ids, got {name}={shown(value)}. Give whole numbers.")
            object.__setattr__(self, name, tuple(require_int(name, one, 0) for one in value))
        ids: tuple[int, ...] = self.ids
        if len(ids) != 2 or self.ids[0] >= self.ids[1]:
            raise SpecError(
                f"expected ids as a range (low, high), got ids={shown(self.ids)}. Ids low to high, less one, are the "
                "picture's. Give two numbers, the smaller first."
            )

    @classmethod
    def of(cls, fields_by_name: Mapping[str, Any]) -> "Raster":
        """The same from a mapping, such as a JSON object.

        Raises:
            SpecError: a field that there is not, one that is missing, or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = [str(name) for name in fields_by_name if name not in known]
        missing = [name for name in ("ids", "rows", "cols") if name not in fields_by_name]
        if unknown or missing:
            got = f"{shown(unknown[0])}" if unknown else f"no {', '.join(missing)}"
            raise SpecError(f"expected the fields {', '.join(known)} of a raster, got {got}. Correct it.")
        return cls(**fields_by_name)

    def layout(self, lead: int, *, rows: int | None = None, cols: int | None = None) -> Layout:
        """The layout after a prompt of so many ids, those of ``lead`` included."""
        return Layout(
            frames=1,
            rows=self.rows if rows is None else rows,
            cols=self.cols if cols is None else cols,
            lead=lead,
            between_rows=len(self.between_rows),
        )
