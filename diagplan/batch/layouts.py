"""Plans of clips, each compiled and verified once, and laid out for the model and a number of samples."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, only_batch_of
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.errors import CapacityError
from diagplan.backends.given import known_ids
from diagplan.backends.measured import settled_speculation
from diagplan.backends.memory import estimate_memory
from diagplan.backends.rolling import moved, roll, targets_of
from diagplan.backends.room import free_memory
from diagplan.backends.sampling import Greedy
from diagplan.backends.selftest import require_tested
from diagplan.batch.recipe import Recipe
from diagplan.models.sampling import sampler_for
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import read_plan
from diagplan.worlds.generation import require_actions, require_layout
from diagplan.worlds.plans import plan_for
from diagplan.worlds.world import World

__all__ = ["Layouts", "PlannedClips"]

Ids = NDArray[np.int64]
#: Plans that stay compiled, and of them those that stay laid out, which takes memory of the device.
_PLANS, _LAID_OUT = 64, 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlannedClips:
    """The plan of all clips of one layout.

    Attributes:
        plan: of a clip, or of the windows of a longer one.
        digest: of the plan; of a rollout over the digests of its plans.
        steps: of it.
        prompt_frames, frames: of tokens, given and generated.
    """

    plan: Plan | Rollout
    digest: str
    steps: int
    prompt_frames: int
    frames: int


class Layouts:
    """The plans of a worker.

    Args:
        world: the world.
        model: its transformer, as it was loaded.
        recipe: what is done with every clip.

    Attributes:
        rows: samples that pass together.

    Raises:
        DiagplanError: a recipe that no clip can follow.
    """

    def __init__(self, world: World, model: Model, recipe: Recipe) -> None:
        self.world, self.model, self.recipe = world, model, recipe
        self.rows = only_batch_of(model) or recipe.batch
        asked = recipe.sampling
        self.sampler = None if asked is None else sampler_for(world.source.adapter, **asked)
        self._planned: OrderedDict[tuple[int | None, int | None], PlannedClips] = OrderedDict()
        self._ready: OrderedDict[str, Any] = OrderedDict()
        if recipe.plan is not None:
            self._file: PlannedClips | None = _described(read_plan(recipe.plan))
            require_layout(world, self._file.plan)
        else:
            self._file = None
            most = max(world.context_frames, recipe.frames or 0) + (recipe.prompt_frames or world.prompt_frames)
            self.planned(np.zeros((most, world.block), np.int64) if world.block else None, None)

    def planned(self, actions: Ids | None, frames: int | None) -> PlannedClips:
        """The plan of a clip with these actions.

        Args:
            actions: blocks, int64 [n, block]; ``None``: the world knows none.
            frames: to generate; ``None``: as the recipe says.

        Raises:
            SpecError, MismatchError: as ``plan_for``.
        """
        if self._file is not None:
            if self.world.block:
                require_actions(actions, self._file.prompt_frames, self._file.frames)
            return self._file
        recipe = self.recipe
        asked = recipe.frames if frames is None else frames
        key = (None if actions is None else len(actions), asked)
        kept = self._planned.get(key)
        if kept is None:
            plan = plan_for(
                self.world, actions, frames=asked, prompt_frames=recipe.prompt_frames, keep=recipe.keep,
                policies=recipe.policies, schedule=recipe.schedule_for,
            )  # fmt: skip
            kept = self._planned[key] = _described(plan)
            if len(self._planned) > _PLANS:
                self._planned.popitem(last=False)
        return kept

    def replay(
        self,
        planned: PlannedClips,
        model: Model,
        prompts: Ids,
        blocks: Ids,
        seeds: Sequence[int],
        *,
        on_frame: Callable[[int, Ids], None] | None = None,
        on_pass: Callable[[], None] | None = None,
    ) -> tuple[Ids, int]:
        """Tokens of ``rows`` clips, int64 [rows, T, h, w], and the passes that they took.

        Args:
            planned: the plan of all.
            model: the transformer, perhaps led by a text; its weights are those of ``self.model``.
            prompts: tokens, int64 [rows, F, h, w].
            blocks: actions, int64 [rows, F - 1 + T, n].
            seeds: of each clip.
            on_frame: called with the number, from 0, and the tokens, int64 [rows, h, w], of each frame when complete.
            on_pass: called after each step, or pass.

        Raises:
            NumericError, CapacityError: as ``diagplan.replay``.
        """
        plan, recipe, numbers = planned.plan, self.recipe, [0] * self.rows
        if isinstance(plan, Rollout):
            rolled = roll(
                plan, model, prompts, blocks if self.world.block else None, sampler=self.sampler, seed=seeds,
                samples=numbers, speculation=recipe.speculation, on_frame=on_frame, on_pass=_ignoring(on_pass),
            )  # fmt: skip
            return rolled.tokens, rolled.passes
        layout = plan.layout
        ids = known_ids(
            np.concatenate([self.world.given(layout, *pair) for pair in zip(prompts, blocks, strict=True)]), model
        )
        own: dict[str, Any] = {"seed": tuple(seeds), "model": model}
        ready = self._laid_out(planned, plan, model)
        if isinstance(ready, speculative.PreparedSpeculation):
            guessing = speculative.shifted(replace(ready, **own), 0)
            state = speculative.new_state(guessing, ids)
            done = speculative.replay(guessing, state, on_frame=on_frame, on_pass=_ignoring(on_pass))
            return done.tokens, done.passes
        prepared, targets = ready
        keyed = moved(replace(prepared, **own), targets, 0)
        begun = executor.new_state(keyed, ids)
        replayed = executor.replay(keyed, begun, on_frame=on_frame, on_step=_ignoring(on_pass))
        return replayed.tokens, replayed.steps

    def _laid_out(self, planned: PlannedClips, plan: Plan, model: Model) -> Any:
        """The plan on the device, verified when it is first laid out; the oldest of several go."""
        kept = self._ready.get(planned.digest)
        if kept is not None:
            self._ready.move_to_end(planned.digest)
            return kept
        require_tested(model)
        executor.require_grid(plan, model)
        self._require_room(plan)
        keyed: dict[str, Any] = {"sampler": self.sampler, "batch": self.rows, "samples": [0] * self.rows}
        while len(self._ready) >= _LAID_OUT:
            self._ready.popitem(last=False)
        if self.recipe.speculation is None:
            prepared = executor.prepare(plan, model, **keyed)
            kept = prepared, targets_of(prepared)
        else:
            settled = settled_speculation(self.recipe.speculation, plan, model, sampler=self.sampler, rows=self.rows)
            kept = speculative.prepare(plan, model, settled, **keyed)
        self._ready[planned.digest] = kept
        return kept

    def _require_room(self, plan: Plan) -> None:
        """Raise ``CapacityError`` where so many samples do not fit into the memory that is free, beside the weights."""
        sampled = self.sampler is not None and not isinstance(self.sampler, Greedy)
        memory = estimate_memory(self.model, plan, self.rows, sampled=sampled)
        needed, free = memory.total - memory.weights, free_memory(self.model.device)
        if free is not None and needed > free:
            raise CapacityError(
                f"expected {needed / 2**20:,.0f} MiB beside the weights for batch={self.rows}, got {free / 2**20:,.0f} "
                "MiB free. Take a smaller batch, fewer frames, or dtype bfloat16."
            )


def _ignoring(call: Callable[[], None] | None) -> Callable[..., None] | None:
    """The same function, whatever it is given."""
    return None if call is None else lambda *_: call()


def _described(plan: Plan | Rollout) -> PlannedClips:
    if isinstance(plan, Plan):
        layout = plan.layout
        return PlannedClips(
            plan=plan, digest=plan_digest(plan), steps=plan.steps, prompt_frames=layout.prompt_frames,
            frames=layout.frames,
        )  # fmt: skip
    parts = " ".join(plan_digest(one) for one in plan.plans)
    digest = hashlib.sha256(f"{parts} {plan.prompt_frames} {plan.frames}".encode()).hexdigest()
    return PlannedClips(
        plan=plan, digest=f"sha256:{digest}", steps=plan.cost().passes, prompt_frames=plan.prompt_frames,
        frames=plan.frames,
    )  # fmt: skip
