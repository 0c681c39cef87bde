"""Times of a study's conditions, measured when all of them are done, by one process that does nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from diagplan.backends.replay import Replayed
from diagplan.planner.speculation import Speculation
from diagplan.study.conditions import Condition
from diagplan.study.results import Result, StudyFolder
from diagplan.study.run import Study, replay_part, rollout_of

__all__ = ["time_again", "timing_work"]


def time_again(
    study: Study,
    folder: StudyFolder,
    conditions: Sequence[Condition],
    results: Mapping[str, Result],
    *,
    on_work: Callable[[float], None] | None = None,
) -> dict[str, Result]:
    """Measure every condition's seconds anew, one after the other and then again, so that a slow minute hits all alike.

    Of an ``exact`` condition each turn replays some clips, and all turns together every clip once. Conditions that were
    run by several workers have no times before.

    Args:
        study: as for ``run_study``.
        folder: where the results are; they are written with the new times.
        conditions: those of ``results`` that are measured.
        results: by id.
        on_work: called with passes done.

    Returns:
        all results, with the new times.
    """
    times: dict[str, dict[int, float]] = {condition.id: {} for condition in conditions}
    rollouts = [(condition, rollout_of(study, condition)) for condition in conditions]
    for turn in range(study.repeats):
        for condition, rollout in rollouts:
            world, speculation = study.worlds[condition.model], _held(results[condition.id])
            numbers = [turn] if speculation is None else range(turn, len(study.material.tokens), study.repeats)
            for number in numbers:
                clip = 0 if speculation is None else number
                took = replay_part(study, world, rollout, slice(clip, clip + 1), speculation=speculation)
                times[condition.id][number] = took.seconds
                if on_work is not None:
                    on_work(rollout.cost().passes if isinstance(took, Replayed) else took.passes)
    measured = dict(results)
    for id_, seconds in times.items():
        name = "single" if results[id_].passes is None else "clips"
        ordered = [seconds[number] for number in sorted(seconds)]
        before = results[id_].seconds if results[id_].timed else {}
        measured[id_] = folder.write(replace(results[id_], seconds={**before, name: ordered}))
    return measured


def timing_work(study: Study, results: Mapping[str, Result], conditions: Sequence[Condition]) -> int:
    """The passes of ``time_again``."""
    done = (results[condition.id] for condition in conditions)
    return sum(study.repeats * one.plan["steps"] if one.passes is None else sum(one.passes) for one in done)


def _held(result: Result) -> Speculation | None:
    """How a condition that is done was replayed."""
    return None if result.passes is None else Speculation(**result.plan["speculation"])
