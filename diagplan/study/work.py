"""What a worker does with the conditions of a study: models and clips are loaded once, then a condition at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Outcome, Told
from diagplan.planner.errors import DiagplanError
from diagplan.study.conditions import Condition
from diagplan.study.results import StudyFolder
from diagplan.study.run import run_study
from diagplan.study.setup import set_up, settings_of

__all__ = ["OPENER", "ConditionWork", "StudyRecipe", "open_conditions"]

#: What a worker of a study is opened with.
OPENER = "diagplan.study.work:open_conditions"
#: Seconds between two words on how far a condition is.
_PULSE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecipe:
    """What a worker needs to know of a study; plain data.

    Attributes:
        options: of ``set_up``, its files with whole paths.
        conditions: that may be asked for, with next-token prediction of each of their models.
    """

    options: Mapping[str, Any]
    conditions: tuple[Condition, ...]


def open_conditions(recipe: StudyRecipe, out: Path) -> "ConditionWork":
    """A worker's work.

    Raises:
        DiagplanError: as ``set_up``.
    """
    return ConditionWork(recipe, out)


class ConditionWork:
    """A study, loaded, and its folder. Jobs are named by conditions.

    Args:
        recipe: of the study.
        out: the study's folder, which the command has begun.
    """

    def __init__(self, recipe: StudyRecipe, out: Path) -> None:
        # Times that are measured beside other workers would say how busy the machine is.
        self.study = replace(set_up(**recipe.options), repeats=0)
        self.identity: Mapping[str, Any] = settings_of(self.study)
        self._conditions = {condition.id: condition for condition in recipe.conditions}
        self._out = out
        self._tell: Callable[[Told], None] | None = None

    def tell_by(self, tell: Callable[[Told], None]) -> None:
        """From now on say by this function how many passes of a condition are done."""
        self._tell = tell

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run conditions whose model's next-token prediction is done, or is what is asked for."""
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Outcome:
        condition = self._conditions[job.id]
        ntp = self._conditions[f"{condition.model}/ntp"]
        try:
            folder = StudyFolder(self._out, self.identity)
            run_study(
                self.study, folder, [ntp] if condition == ntp else [ntp, condition], on_work=self._counting(job.id)
            )
        except DiagplanError as error:
            return Outcome(number=job.number, id=job.id, state="wrong", message=str(error), kind=type(error).__name__)
        return Outcome(number=job.number, id=job.id, state="done")

    def _counting(self, name: str) -> Callable[[float], None]:
        """What counts the passes of a condition, and tells of them now and then."""
        done, told = 0.0, time.monotonic()

        def count(passes: float) -> None:
            nonlocal done, told
            done += passes
            if self._tell is not None and time.monotonic() - told >= _PULSE:
                told = time.monotonic()
                self._tell(Told(id=name, passes=round(done), of=0, frames=0))

        return count
