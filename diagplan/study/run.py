"""Run the study: every condition on all clips, each result written as soon as it is done."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.replay import Replayed
from diagplan.backends.rolling import Rolled, roll
from diagplan.backends.speculative import Speculated
from diagplan.evaluation.frechet import frechet_tokenizer
from diagplan.evaluation.metrics import equal_tokens, squared_error, ssim_curve
from diagplan.models.loading import replay_ids
from diagplan.planner.rollout import Rollout
from diagplan.planner.schedule import NextToken
from diagplan.planner.speculation import Speculation
from diagplan.schemas.convert import plan_digest
from diagplan.study.conditions import BASE, Condition
from diagplan.study.exact import expected_passes, replay_clips, require_same, same_result, settled
from diagplan.study.judge import rolled_loss
from diagplan.study.latents import tokenizer_latents
from diagplan.study.material import Material
from diagplan.study.pieces import by_token_frame, given_ids, made_frames
from diagplan.study.results import Result, StudyFolder, untimed
from diagplan.study.world_report import followed_moves
from diagplan.worlds import World

__all__ = [
    "Extra",
    "Study",
    "judge_truth",
    "missing_extras",
    "plan_key",
    "planned_work",
    "replay_part",
    "rollout_of",
    "run_study",
    "work_of",
]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]
#: More figures of whole videos, uint8 [N, F + T, height, width, 3].
Extra = Callable[[Frames], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """What stays the same over all conditions.

    Attributes:
        worlds: label -> model; ``"base"`` is the judge of all.
        weights: label -> SHA-256 of its files.
        material: the clips.
        settings: what else decides the figures; written with each result.
        truth: latents of the recorded frames to generate, [N T, C, rows, cols], from ``tokenizer_latents``; ``None``:
            a tokenizer that gives none.
        extras: name -> (what it is made of, figures of whole videos, the given frames first).
        batch: clips at a time.
        repeats: timed replays of the first clip alone; 0: no times are kept, since others use the machine too.
    """

    worlds: Mapping[str, World]
    weights: Mapping[str, str]
    material: Material
    settings: Mapping[str, Any]
    truth: NDArray[np.float32] | None
    extras: Mapping[str, tuple[str, Extra]]
    batch: int = 32
    repeats: int = 3

    def bound(self, model: str) -> dict[str, Any]:
        """What a result of a model is bound to."""
        return {
            "weights": self.weights[model], "judge": self.weights[BASE], "clips": self.material.digest(),
            **self.settings,
        }  # fmt: skip


def run_study(
    study: Study,
    folder: StudyFolder,
    conditions: Sequence[Condition],
    *,
    on_start: Callable[[str, float], None] | None = None,
    on_work: Callable[[float], None] | None = None,
) -> tuple[dict[str, Result], int]:
    """Run the conditions that are not done yet.

    Args:
        study: models and clips.
        folder: where results are.
        conditions: from ``select``: next-token prediction of each model first.
        on_start: called with a condition's id and its share of the work, in passes.
        on_work: called with passes done.

    Returns:
        the results by id, and how many were run now.

    Raises:
        DocumentError: results that cannot be read or are of another study.
        MismatchError: an ``exact`` condition whose tokens are not next-token prediction's.
    """
    results: dict[str, Result] = {}
    by_plan: dict[tuple[str, str], str] = {}
    ran = 0
    for condition in conditions:
        result = folder.read(condition.id, study.bound(condition.model))
        rollout = None if result is not None else rollout_of(study, condition)
        work = 0 if rollout is None else work_of(study, condition, rollout)
        if on_start is not None:
            on_start(condition.id, work)
        if rollout is not None:
            same = by_plan.get((condition.model, plan_key(rollout)))
            if condition.speculation is not None:
                result = _run_exact(study, folder, condition, rollout, results[f"{condition.model}/ntp"], on_work)
            elif same is None:
                result = _run(study, folder, condition, rollout, on_work)
            else:  # other names, the same facts: replaying it would give the same tokens
                folder.write_tokens(condition.id, folder.read_tokens(same))
                names = {"condition": condition.id, "same_as": same, "policies": asdict(condition.policies)}
                result = replace(results[same], id=condition.id, plan={**results[same].plan, **names})
                if on_work is not None:
                    on_work(work)
            result = folder.write(result)
            ran += 1
        assert result is not None
        results[condition.id] = _with_extras(study, folder, result)
        if condition.speculation is None:
            by_plan.setdefault((condition.model, result.plan["digest"]), condition.id)
    return results, ran


def planned_work(study: Study, folder: StudyFolder, conditions: Sequence[Condition]) -> tuple[int, float]:
    """How many of the conditions are done, and the passes that the others take, those of ``exact`` estimated.

    Raises:
        DocumentError: as ``run_study``.
    """
    waiting = [c for c in conditions if folder.read(c.id, study.bound(c.model)) is None]
    return len(conditions) - len(waiting), sum(work_of(study, c, rollout_of(study, c)) for c in waiting)


def judge_truth(study: Study) -> dict[str, Any]:
    """Figures of the recorded clips themselves: the judge's loss, the moves, the tokenizer's own error."""
    material, world = study.material, study.worlds[BASE]
    given = material.given
    truth = material.tokens[:, given:]
    loss = _judged(study, material.rollout(NextToken()), truth)
    followed = _followed(study, truth)
    again = made_frames(world, material.tokens[:, :given], truth)
    return {
        "loss": float(loss.mean()),
        "loss_by_frame": loss.mean(0).tolist(),
        "counted": None if material.counted is None else int(material.counted.sum()),
        "followed": None if followed is None else sum(followed),
        "squared_error_of_tokenizer": float(squared_error(material.frames[:, material.given_frames :], again).mean()),
        **_frechet(study, again),
    }


def _frechet(study: Study, frames: Frames) -> dict[str, float]:
    """The distance of generated frames to the recorded ones, where the tokenizer gives latents."""
    if study.truth is None:
        return {}
    return {"frechet_tokenizer": frechet_tokenizer(tokenizer_latents(study.worlds[BASE], frames), study.truth)}


def rollout_of(study: Study, condition: Condition) -> Rollout:
    """The windows and plans of a condition."""
    return study.material.rollout(condition.schedule, condition.policies)


def plan_key(rollout: Rollout) -> str:
    """A plan's own digest where it is the only window; else of the plans and the order in which they are used."""
    digests = [plan_digest(plan) for plan in rollout.plans]
    if len(rollout.windows) == 1:
        return digests[0]
    used = [[digests[window.plan], window.first] for window in rollout.windows]
    return "sha256:" + hashlib.sha256(json.dumps(used).encode()).hexdigest()


def _judged(study: Study, rollout: Rollout, tokens: Ids) -> NDArray[np.float64]:
    """The judge's loss, float64 [N, T]."""
    material = study.material
    prompt = material.tokens[:, : material.given]
    base = study.worlds[BASE]
    return rolled_loss(
        base.model, rollout, prompt, material.actions, tokens, batch=study.batch, given=partial(given_ids, base)
    )


def work_of(study: Study, condition: Condition, rollout: Rollout) -> float:
    """The passes of a condition, estimated where it is an ``exact`` one."""
    if condition.speculation is not None:
        return expected_passes(condition.speculation, rollout.cost().passes) * len(study.material.tokens)
    return rollout.cost().passes * (-(-len(study.material.tokens) // study.batch) + study.repeats)


def _run(
    study: Study, folder: StudyFolder, condition: Condition, rollout: Rollout, on_work: Callable[[float], None] | None
) -> Result:
    material, world = study.material, study.worlds[condition.model]
    given = material.given
    tokens, batched, single = _generate(study, world, rollout, on_work)
    base = study.worlds[BASE]
    truth, frames = material.tokens[:, given:], made_frames(base, material.tokens[:, :given], tokens)
    recorded, token_frames = material.frames[:, material.given_frames :], tokens.shape[1]
    own = tokens if condition.name == "ntp" else folder.read_tokens(f"{condition.model}/ntp")
    curves = {
        "loss": _judged(study, rollout, tokens),
        "equal_truth": equal_tokens(tokens, truth),
        "equal_ntp": equal_tokens(tokens, own),
        "error": by_token_frame(squared_error(recorded, frames), token_frames),
        "ssim": by_token_frame(ssim_curve(recorded, frames), token_frames),
    }
    folder.write_tokens(condition.id, tokens)
    cost, schedule = rollout.cost(), rollout.plans[0].schedule
    slid = {} if material.window is None else {"windows": cost.windows, "prefill_tokens": cost.prefill_tokens}
    return Result(
        id=condition.id,
        bound=study.bound(condition.model),
        plan={
            "condition": condition.id, "schedule": schedule.name, "k": schedule.k, "d": schedule.d,
            "policies": asdict(condition.policies), "steps": cost.passes, "tokens": cost.tokens,
            "frames": recorded.shape[1], "digest": plan_key(rollout), **slid,
        },
        seconds={"single": single, "batched": batched, "batch": study.batch} if study.repeats else untimed(),
        curves={name: curve.tolist() for name, curve in curves.items()},
        counted=None if material.counted is None else material.counted.sum(1).tolist(),
        followed=_followed(study, tokens),
        single=_frechet(study, frames),
    )  # fmt: skip


def _run_exact(
    study: Study,
    folder: StudyFolder,
    condition: Condition,
    rollout: Rollout,
    ntp: Result,
    on_work: Callable[[float], None] | None,
) -> Result:
    """Every clip alone, its tokens compared with next-token prediction's."""
    world, count = study.worlds[condition.model], len(study.material.tokens)
    assert condition.speculation is not None
    speculation = settled(condition.speculation, rollout, world)
    part = work_of(study, condition, rollout) / count

    def replayed(clip: int, how: Speculation) -> Rolled | Speculated:
        done = replay_part(study, world, rollout, slice(clip, clip + 1), speculation=how)
        assert not isinstance(done, Replayed)
        return done

    if study.repeats:
        replayed(0, speculation)  # a first replay is slower than others
    clips = replay_clips(
        replayed, range(count), speculation, on_clip=None if on_work is None else lambda: on_work(part)
    )
    require_same(condition, clips.tokens, folder.read_tokens(ntp.id))
    folder.write_tokens(condition.id, clips.tokens)
    result = same_result(condition, ntp, speculation, clips)
    return result if study.repeats else replace(result, seconds=untimed())


def _generate(
    study: Study, world: World, rollout: Rollout, on_work: Callable[[float], None] | None
) -> tuple[Ids, float, list[float]]:
    """The tokens, the seconds of all batches, and those of the first clip alone, each time."""
    starts = range(0, len(study.material.tokens), study.batch)
    parts = [replay_part(study, world, rollout, slice(at, at + study.batch), on_work) for at in starts]
    single = [replay_part(study, world, rollout, slice(1), on_work).seconds for _ in range(study.repeats)]
    return np.concatenate([part.tokens for part in parts]), sum(part.seconds for part in parts), single


def replay_part(
    study: Study,
    world: World,
    rollout: Rollout,
    clips: slice,
    on_work: Callable[[float], None] | None = None,
    speculation: Speculation | None = None,
) -> Rolled | Replayed | Speculated:
    """Replay some clips together.

    Args:
        study: whose clips these are.
        world: the model.
        rollout: of a condition.
        clips: which.
        on_work: called with passes done.
        speculation: how, of one clip alone; ``None``: step by step.
    """
    material = study.material
    part = rollout.cost().passes / rollout.frames
    prompt, actions = material.tokens[clips, : material.given], material.actions[clips]
    on_frame: Callable[[int, Ids], None] | None = None if on_work is None else lambda _f, _t: on_work(part)
    if rollout.plans[0].layout.lead:  # what stands before the prompt is no frame of a window
        plan = rollout.plans[0]
        given = given_ids(world, plan.layout, prompt, actions)
        return replay_ids(plan, world.model, given, speculation=speculation, on_frame=on_frame)
    return roll(rollout, world.model, prompt, actions, speculation=speculation, on_frame=on_frame)


def _followed(study: Study, tokens: Ids) -> list[int] | None:
    material = study.material
    if material.counted is None:
        return None
    whole = np.concatenate([material.tokens[:, material.given - 1 : material.given], tokens], axis=1)
    follows = followed_moves(whole, material.moved, study.worlds[BASE].map_rows)
    counts: list[int] = (follows & material.counted).sum(1).tolist()
    return counts


def missing_extras(study: Study, result: Result) -> dict[str, tuple[str, Extra]]:
    """The networks that the user gave whose figures a result has not."""
    return {
        name: (of, figures)
        for name, (of, figures) in study.extras.items()
        if result.extra.get(name, {}).get("of") != of
    }


def _with_extras(study: Study, folder: StudyFolder, result: Result) -> Result:
    """The result with the figures of networks that the user gave, if they were not there."""
    missing = missing_extras(study, result)
    if not missing:
        return result
    material = study.material
    prompt = material.tokens[:, : material.given]
    frames = made_frames(study.worlds[BASE], prompt, folder.read_tokens(result.id))
    given = material.frames[:, : material.given_frames]
    whole = np.concatenate([given, frames], axis=1)
    added = {name: {"of": of, **figures(whole)} for name, (of, figures) in missing.items()}
    return folder.write(replace(result, extra={**result.extra, **added}))
