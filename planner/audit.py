"""The published step counts against the law: every cell of the tables, with a verdict that is computed.

The tables print thousands of forward passes with two decimals. ``published_steps.csv`` holds the 53 cells of the
Diagonal Decoding paper (arXiv 2503.14070) and its supplement: an empty ``d`` means frames in sequence, and for
ZipAR ``k`` is the window. The law is ``formulas.total_steps``; next-token prediction takes T h w steps.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from importlib.resources import files
from typing import Literal

from diagplan.planner.formulas import frame_delay, frame_steps, row_delay, total_steps

__all__ = ["Agreement", "AuditCell", "audit", "count_verdicts", "judge", "settings_that_give"]

Agreement = Literal["rounds", "truncates", "no"]

_TABLE = "published_steps.csv"
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCell:
    """One published number and what the law says of it.

    Args:
        table: number of the table in the paper or its supplement.
        model: name of the model, e.g. ``cosmos-4b``.
        algorithm: ``ntp``, ``zipar``, ``diagd`` or ``diagd-finetuned``.
        k: row delay in steps, the window for ZipAR; ``None`` for next-token prediction.
        d: frame delay in steps; ``None``: frames in sequence.
        frames, rows, cols: T, h, w.
        published: the number as printed, thousands of steps, two decimals.
        law: forward passes by the closed form.
        agrees: ``rounds``: the law rounded half up to ten steps is the printed number; ``truncates``: only the law
            cut off to ten steps is; ``no``: neither.
        setting: where the cell does not agree, the settings that would give the printed number, in words.
    """

    table: int
    model: str
    algorithm: str
    k: int | None
    d: int | None
    frames: int
    rows: int
    cols: int
    published: Decimal
    law: int
    agrees: Agreement
    setting: str | None = None


def audit() -> tuple[AuditCell, ...]:
    """Every published cell in the order of the tables, judged.

    >>> [cell.law for cell in audit() if cell.agrees == "truncates"]
    [309, 309]
    """
    text = files("diagplan.planner").joinpath(_TABLE).read_text(encoding="utf-8")
    cells = tuple(_judged(row) for row in csv.DictReader(text.splitlines()))
    return tuple(
        replace(cell, setting=settings_that_give(cell, others=cells)) if cell.agrees == "no" else cell for cell in cells
    )


def judge(law: int, published: Decimal) -> Agreement:
    """How ``law`` steps relate to a printed number of thousands with two decimals.

    >>> judge(309, Decimal("0.30")), judge(145, Decimal("0.15")), judge(162, Decimal("0.15"))
    ('truncates', 'rounds', 'no')
    """
    thousands = Decimal(law).scaleb(-3)
    if thousands.quantize(_CENT, ROUND_HALF_UP) == published:
        return "rounds"
    if thousands.quantize(_CENT, ROUND_DOWN) == published:
        return "truncates"
    return "no"


def settings_that_give(cell: AuditCell, *, others: Iterable[AuditCell] = ()) -> str:
    """The settings whose law rounds to the number printed in ``cell``, in words, the nearest first.

    Three kinds, as a misprint has one of three causes: the same k with another d, the same d with another k, and
    a setting printed in another cell of the same shape (``others``). Searched are all k in 1..w, d in 1..F.
    """
    k = cell.cols if cell.k is None else row_delay(cell.k, cell.cols)
    settings = []
    same_k = _frame_delays(cell, k)
    if same_k:
        stacked = cell.rows * k
        note = f", d = h k' = {stacked} (stacked rows) among them" if stacked in same_k and len(same_k) > 1 else ""
        settings.append(f"{_setting(cell, k, same_k)}{note}")
    same_d = [other for other in range(1, cell.cols + 1) if _delay(cell, other) in _frame_delays(cell, other)]
    if same_d:
        nearest = min(same_d, key=lambda other: abs(other - k))
        settings.append(_setting(cell, nearest, [_delay(cell, nearest)]))
    printed = _printed_elsewhere(cell, others)
    if printed:
        settings.append(f"of the settings printed elsewhere {', '.join(printed)}")
    if not settings:
        settings = _nearest_of_all(cell, k)
    return "; ".join(settings) if settings else "no k in 1..w with d in 1..F gives it"


def _judged(row: dict[str, str]) -> AuditCell:
    table, frames, rows, cols = (int(row[name]) for name in ("table", "frames", "rows", "cols"))
    k, d = (int(row[name]) if row[name] else None for name in ("k", "d"))
    published = Decimal(row["published_thousand_steps"]).quantize(_CENT)
    law = _law(row["algorithm"], frames, rows, cols, k, d)
    return AuditCell(
        table=table,
        model=row["model"],
        algorithm=row["algorithm"],
        k=k,
        d=d,
        frames=frames,
        rows=rows,
        cols=cols,
        published=published,
        law=law,
        agrees=judge(law, published),
    )


def _law(algorithm: str, frames: int, rows: int, cols: int, k: int | None, d: int | None) -> int:
    match algorithm:
        case "ntp":
            return frames * rows * cols
        case "zipar" | "diagd" | "diagd-finetuned":
            assert k is not None, f"{algorithm} needs k in {_TABLE}"
            return total_steps(frames, rows, cols, k, d)
        case _:
            raise AssertionError(f"unknown algorithm {algorithm!r} in {_TABLE}")


def _delay(cell: AuditCell, k: int) -> int:
    """d' of the cell's frame delay, were its row delay ``k``."""
    return frame_delay(cell.d, cell.rows, cell.cols, k)


def _frame_delays(cell: AuditCell, k: int) -> range:
    """The d in 1..F with which this k gives the printed number: an interval, for the law is linear in d."""
    alone = frame_steps(cell.rows, cell.cols, k)
    middle = int(cell.published * 1000)
    least, most = middle - 5 - alone, middle + 4 - alone  # half up: 145 and 154 are both printed .15
    gaps = cell.frames - 1
    if gaps == 0:
        return range(1, alone + 1) if least <= 0 <= most else range(0)
    return range(max(1, -(-least // gaps)), min(alone, most // gaps) + 1)


def _setting(cell: AuditCell, k: int, delays: Sequence[int]) -> str:
    """One k with an interval of frame delays, in words; d = F is named for what it means."""
    alone = frame_steps(cell.rows, cell.cols, k)
    first, last = (f"{d} (frames in sequence)" if d == alone else f"{d}" for d in (delays[0], delays[-1]))
    return f"k={k} with d={first}" if len(delays) == 1 else f"k={k} with d={first} to {last}"


def _printed_elsewhere(cell: AuditCell, others: Iterable[AuditCell]) -> list[str]:
    """The settings of the other cells of the same shape whose law rounds to the number printed in ``cell``."""
    settings = {
        (other.k, _delay(other, other.k))
        for other in others
        if (other.frames, other.rows, other.cols) == (cell.frames, cell.rows, cell.cols)
        and other.k is not None
        and judge(other.law, cell.published) == "rounds"
    }
    return [f"k={k} d={d}" for k, d in sorted(settings)]


def _nearest_of_all(cell: AuditCell, k: int) -> list[str]:
    """The setting nearest in k, then in d, where keeping either gives nothing."""
    for other in sorted(range(1, cell.cols + 1), key=lambda other: (abs(other - k), other)):
        delays = _frame_delays(cell, other)
        if delays:
            return [_setting(cell, other, [min(max(_delay(cell, other), delays[0]), delays[-1])])]
    return []


def count_verdicts(cells: Iterable[AuditCell]) -> dict[Agreement, int]:
    """How many cells have each verdict.

    >>> count_verdicts(audit())
    {'rounds': 41, 'truncates': 2, 'no': 10}
    """
    verdicts = [cell.agrees for cell in cells]
    return {verdict: verdicts.count(verdict) for verdict in ("rounds", "truncates", "no")}
