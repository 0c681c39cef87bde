"""Conditions of a study worked off by several workers: processes of this machine, or actors of Ray.

The driver is that of batches (``diagplan.batch.driver``). A job is a condition. Next-token prediction of a model goes
before all others of that model, which are compared with it; then those that take longest, so that none of them is
waited for at the end.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagplan.adapters.families import family_of_release
from diagplan.backends.errors import MismatchError
from diagplan.batch.driver import drive, error_of
from diagplan.batch.jobs import Job, JobSource, Later, WrongJob
from diagplan.batch.messages import Opening, Outcome, Told
from diagplan.batch.pools import open_pool, require_crew
from diagplan.batch.tally import Tally
from diagplan.planner.arguments import is_file
from diagplan.planner.extras import require_packages
from diagplan.planner.speculation import Speculation
from diagplan.study.conditions import Condition
from diagplan.study.results import StudyFolder
from diagplan.study.run import Study, missing_extras, plan_key, rollout_of, work_of
from diagplan.study.setup import settings_of
from diagplan.study.work import OPENER, StudyRecipe
from diagplan.worlds import SHIPPED

__all__ = ["Crew", "run_by_workers", "waiting_work", "whole_paths"]

#: Conditions that a line of progress names.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who works off conditions.

    Attributes:
        workers: how many, each with the models and the clips.
        ray: as for ``diagplan.batch.run_batch``.
        gpus_per_worker: where models are on ``"cuda"``; less than 1: workers share one.

    Raises:
        SpecError: a number that cannot be.
        MissingExtraError: Ray is asked for and not installed.
    """

    workers: int = 1
    ray: str | None = None
    gpus_per_worker: float = 1

    def __post_init__(self) -> None:
        require_crew(self.workers, self.gpus_per_worker)
        if self.ray is not None:
            require_packages("workers on Ray", "ray")

    @property
    def alone(self) -> bool:
        """Whether the caller's own process is the only worker."""
        return self.workers == 1 and self.ray is None


def whole_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``set_up`` with whole paths: a worker may begin in another folder."""

    def whole(name: str, value: Any) -> Any:
        if isinstance(value, Path):
            return Path(os.path.abspath(value))  # noqa: PTH100 - links stay links
        if name not in ("config", "model") or not isinstance(value, str):
            return value
        a_file = name == "config" and is_file(Path(value))
        named = value in SHIPPED or family_of_release(value) is not None
        a_folder = name == "model" and not named and Path(value).is_dir()
        return os.path.abspath(value) if a_file or a_folder else value  # noqa: PTH100

    tuned = {label: whole("tuned", Path(folder)) for label, folder in (options.get("tuned") or {}).items()}
    return {**{name: whole(name, value) for name, value in options.items()}, "tuned": tuned}


def waiting_work(study: Study, folder: StudyFolder, conditions: Sequence[Condition]) -> dict[Condition, float]:
    """The conditions that workers can do now, with the passes of each.

    Left to the command itself, when workers are done: a plan that holds the same facts as an earlier one, which takes
    over its result, and ``exact``, whose window is measured.

    Raises:
        DocumentError: as ``run_study``.
    """
    work: dict[Condition, float] = {}
    first: dict[tuple[str, str], str] = {}
    for condition in conditions:
        result = folder.read(condition.id, study.bound(condition.model))
        stepped = condition.speculation is None
        if result is not None:
            if stepped:
                first.setdefault((condition.model, result.plan["digest"]), condition.id)
            if missing_extras(study, result):
                work[condition] = 0.0
        elif stepped or isinstance(condition.speculation, Speculation):
            rollout = rollout_of(study, condition)
            key = condition.model, plan_key(rollout)
            if not stepped or first.setdefault(key, condition.id) == condition.id:
                work[condition] = work_of(study, condition, rollout)
    return work


def run_by_workers(
    study: Study,
    folder: StudyFolder,
    conditions: Sequence[Condition],
    options: Mapping[str, Any],
    crew: Crew,
    *,
    on_progress: Callable[[str, float], None] | None = None,
    opener: str = OPENER,
) -> tuple[int, int]:
    """Have the conditions of ``waiting_work`` done by workers. ``run_study`` then has little left to do.

    Args:
        study: as the caller has loaded it; every worker has to find the same.
        folder: where results are.
        conditions: from ``select``.
        options: of ``set_up``, from which each worker loads the study.
        crew: the workers.
        on_progress: called twice a second with what is being done, and the passes done since the last call.
        opener: ``module:function``, which makes what a worker does: ``diagplan.batch.messages.Work``.

    Returns:
        how many conditions were run, and how many workers were lost and replaced.

    Raises:
        DiagplanError: of the first condition that went wrong; what other workers had in hand is finished before.
        MismatchError: a worker that finds other clips, weights or packages.
        CapacityError: workers that do not stay alive.
    """
    work = waiting_work(study, folder, conditions)
    if not work:
        return 0, 0
    queue = _Queue(work)
    tally, own, wrong = Tally(min(crew.workers, len(work))), settings_of(study), list[Outcome]()
    recipe = StudyRecipe(options=whole_paths(options), conditions=tuple(conditions))
    place = Path(os.path.abspath(folder.folder))  # noqa: PTH100
    pool = open_pool(
        Opening(opener=opener, recipe=recipe, out=place), tally.count, crew.ray,
        gpus_per_worker=crew.gpus_per_worker, device=options.get("device", "cpu"), threads=options.get("threads"),
    )  # fmt: skip

    def on_pulse(ready: int) -> None:
        if on_progress is not None:
            on_progress(f"replaying with {ready} of {tally.count} workers{queue.names()}", queue.gained())

    try:
        drive(
            pool, JobSource(queue.jobs()), tally, size=1, max_errors=0, on_ready=lambda theirs: _require(own, theirs),
            on_wrong=wrong.append, on_pulse=on_pulse, on_done=queue.finish, on_told=queue.tell,
        )  # fmt: skip
    finally:
        pool.close()
    if wrong:
        raise error_of(wrong[0].kind, f"{wrong[0].message} This was {wrong[0].id}; what is finished stays.")
    return sum(passes > 0 for passes in work.values()), sum(one.losses for one in tally.workers)


@dataclass(slots=True)
class _Queue:
    """Conditions in the order in which they are given out."""

    work: dict[Condition, float]
    waiting: list[Condition] = field(init=False)
    in_hand: dict[str, Condition] = field(default_factory=dict)
    _so_far: dict[str, float] = field(default_factory=dict)
    _finished: float = 0.0
    _said: float = 0.0

    def __post_init__(self) -> None:
        self.waiting = sorted(self.work, key=lambda one: (one.name != "ntp", -self.work[one]))

    def jobs(self) -> Iterator[tuple[Job | WrongJob | Later, float]]:
        """A job for each condition, once next-token prediction of its model is done."""
        number = 0
        while self.waiting:
            held = {one.id for one in (*self.waiting, *self.in_hand.values())}
            free = (one for one in self.waiting if one.name == "ntp" or f"{one.model}/ntp" not in held)
            condition = next(free, None)
            if condition is None:
                yield Later(), 0.0
                continue
            number += 1
            self.waiting.remove(condition)
            self.in_hand[condition.id] = condition
            yield Job(number=number, id=condition.id), number / len(self.work)

    def finish(self, outcome: Outcome) -> None:
        """A condition is done."""
        self._finished += self.work[self.in_hand.pop(outcome.id)]
        self._so_far.pop(outcome.id, None)

    def tell(self, told: Told) -> None:
        """How far a condition is."""
        if told.id in self.in_hand:
            self._so_far[told.id] = min(float(told.passes), self.work[self.in_hand[told.id]])

    def gained(self) -> float:
        """The passes done since the last call; less than none where a worker was lost and begins anew."""
        before, self._said = self._said, self._finished + sum(self._so_far.values())
        return self._said - before

    def names(self) -> str:
        """What is in hand, for a line of progress."""
        names = list(self.in_hand)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f": {', '.join(names[:_NAMED])}{more}" if names else ""


def _require(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    other = sorted(key for key in {*own, *theirs} if own.get(key) != theirs.get(key))
    if other:
        raise MismatchError(
            f"expected workers that find what the command has found, got one with other {', '.join(other)}. A study "
            "has one judge and one set of clips. Install the same versions everywhere, and let all machines see the "
            "files under the same names."
        )
