"""The plans that players choose from, and switch between while they play."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diagplan.backends.measured import SpeculationChoice
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, NextToken, Schedule
from diagplan.schemas.files import read_plan

__all__ = ["EXACT", "NEXT_TOKEN", "Choice", "choices_of"]

EXACT, NEXT_TOKEN = "exact", "next-token"
#: Characters of a file's name that are shown.
_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan that players choose.

    Attributes:
        schedule: of every window.
        speculation: as for ``start``.
        plan: of a window that has slid, from a file, instead of the schedule.
    """

    schedule: Schedule | None = None
    speculation: SpeculationChoice | None = None
    plan: Plan | None = None


def choices_of(delays: Sequence[int], files: Sequence[Path] = (), *, exact: bool) -> dict[str, Choice]:
    """Plans by name, the start's first: files, diagonal plans, exact speculation and next-token prediction.

    Args:
        delays: row delays of diagonal plans.
        files: of plans.
        exact: whether exact speculation comes first, else it comes last but one.

    Raises:
        DocumentError: as ``read_plan``.

    >>> list(choices_of([1, 4], exact=True))
    ['exact', 'k=1', 'k=4', 'next-token']
    """
    speculative = {EXACT: Choice(schedule=NextToken(), speculation="auto")}
    others: dict[str, Choice] = {}
    taken = {EXACT, NEXT_TOKEN, *(f"k={delay}" for delay in delays)}
    for path in files:
        shown = "".join(char if char.isprintable() else "?" for char in path.name.partition(".")[0])[:_NAME] or "plan"
        name = next(name for name in (shown, *(f"{shown} ({i})" for i in range(2, 1 << 16))) if name not in taken)
        taken.add(name)
        others[name] = Choice(plan=read_plan(path))
    others |= {f"k={delay}": Choice(schedule=Diagonal(k=delay)) for delay in delays}
    ordered = speculative | others if exact else others | speculative
    return ordered | {NEXT_TOKEN: Choice(schedule=NextToken())}
