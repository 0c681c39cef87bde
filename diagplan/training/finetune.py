"""Fine-tune a world model on plans: each batch with a training plan's mask, or with next-token masks.

The paper's recipe: after next-token prediction, 1,000 further steps on the same data under the changed mask. A share of
next-token batches keeps what the model was trained for.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.mc_ar import McArConfig
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.training_plan import training_plan
from diagplan.schemas.world import Tuning, TuningPlan
from diagplan.training.diagonal import LaidOut, lay_out, plan_logits, plan_loss
from diagplan.training.llama import TrainedMcAr
from diagplan.training.loop import cosine_rate, optimise
from diagplan.training.parallel import ALONE, Workers
from diagplan.training.recipes import require_numbers
from diagplan.training.runs import Run
from diagplan.training.sequences import TokenClips
from diagplan.training.world_model import (
    Vocabulary,
    draw,
    held_out,
    judge,
    predicted_places,
    require_length,
)

__all__ = ["FinetuneRecipe", "batch_kind", "finetune", "judge_plan", "plan_label", "training_layout", "tuning"]

_TOKENS = 3  # of an action
_WATCHED = 16  # sequences that a checkpoint's row of the log judges by


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRecipe:
    """How a model is fine-tuned; the plans say on what.

    Attributes:
        steps, batch: optimizer steps, sequences a step.
        ntp_share: chance of a batch to have next-token masks.
        learning_rate: highest; after a linear warm-up it falls along a cosine to a tenth.
        weight_decay, betas: of AdamW; norms are not decayed.
        seed: of what is drawn, and of weights that begin at random.
        bfloat16: matrix products in bfloat16 (torch's autocast), weights and sums in float32.
    """

    steps: int = 1000
    batch: int = 4
    ntp_share: float = 0.25
    learning_rate: float = 3e-4
    warm_up: int = 50
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    seed: int = 0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        require_numbers(self, steps=1, batch=1, warm_up=0, seed=0)
        if not 0 <= self.ntp_share <= 1:
            raise SpecError(f"expected a share of next-token batches from 0 to 1, got ntp_share={self.ntp_share}.")

    def rate(self, step: int) -> float:
        """The learning rate of one step."""
        return cosine_rate(step, steps=self.steps, warm_up=self.warm_up, highest=self.learning_rate)


def training_layout(config: McArConfig, context: int) -> Layout:
    """The layout of a training sequence: one given frame, then ``context`` - 1 generated ones.

    Raises:
        SpecError: fewer than two frames, or more than the model has positions for.
    """
    if context < 2:
        raise SpecError(f"expected a context of at least 2 frames, got {context}. One is given, the rest predicted.")
    layout = Layout(
        frames=context - 1, rows=config.rows, cols=config.cols, prompt_frames=1, between_frames=config.action_tokens
    )
    if layout.positions > config.max_position_embeddings:
        raise SpecError(
            f"expected a context of {config.max_position_embeddings} positions at most, got {context} frames, which "
            f"are {layout.positions}. Give a smaller context."
        )
    return layout


def plan_label(plan: Plan) -> str:
    """A short name of a plan's schedule for columns of a log, such as ``k2`` or ``k2_d18``."""
    schedule = plan.schedule
    d = "" if schedule.name != "diagonal" or schedule.d is None else f"_d{schedule.d}"
    return f"k{schedule.k}{d}" if schedule.k is not None else schedule.name.replace("-", "_")


def batch_kind(recipe: FinetuneRecipe, step: int, plans: int) -> int | None:
    """Which plan the batch of a step is trained with, ``None`` for next-token masks: a function of seed and step."""
    random = np.random.default_rng((recipe.seed, step, 1))
    return None if random.random() < recipe.ntp_share else int(random.integers(plans))


@torch.no_grad()
def judge_plan(model: TrainedMcAr, laid: LaidOut, clips: TokenClips, words: Vocabulary, *, batch: int = 4) -> float:
    """Nats a token of a model on clips, teacher-forced under a plan's mask."""
    ids = torch.from_numpy(clips.sequences(words.begin, words.end)).to(laid.source.device)
    losses = [
        F.cross_entropy(
            plan_logits(model, laid, part).float().flatten(0, 1), part[:, laid.target].flatten(), reduction="sum"
        )
        for part in torch.split(ids, batch)
    ]
    return float(torch.stack(losses).double().sum()) / (len(ids) * len(laid.target))


def finetune(
    recipe: FinetuneRecipe,
    config: McArConfig,
    weights: Mapping[str, Tensor] | None,
    plans: Sequence[Plan],
    words: Vocabulary,
    train: TokenClips,
    validation: TokenClips,
    folder: str | Path,
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
    workers: Workers = ALONE,
) -> TrainedMcAr:
    """Fine-tune, or go on from the last checkpoint in ``folder``; the same arguments give the same steps.

    Args:
        recipe: how.
        config: of the model.
        weights: to begin with, by the names of ``McArConfig.shapes``; ``None``: random ones.
        plans: decoding plans of one ``training_layout``; each batch under a plan's mask draws one of them.
        words: which ids are actions.
        train: clips to draw batches from.
        validation: clips to watch by: next-token judgement, and the loss under every plan's mask.
        folder: of the run.
        device: where to train.
        checkpoint_every: steps between two checkpoints.
        on_step: called with the number of steps done and their last loss.
        workers: who trains; every one draws the same batches and takes its share.

    Raises:
        SpecError: plans of another layout, clips shorter than them, or a batch that the workers cannot share.
        DocumentError: the folder belongs to another run.
    """
    layout = _layout_of(plans, config)
    context = layout.frames + 1
    require_length(context, train, validation)
    workers.share(torch.empty(recipe.batch))
    model = TrainedMcAr(config, seed=recipe.seed)
    if weights is not None:
        model.load(weights)
    run = Run(folder, _settings(recipe, plans, model) | {"clips": len(train.frames), "context": context})
    model = model.to(device)
    laid = [lay_out(training_plan(plan), device) for plan in plans]
    watched = held_out(validation, context, limit=_WATCHED)
    wanted, target = predicted_places(watched, torch.device(device))
    labels = _labels(plans)

    def loss_of(step: int) -> Tensor:
        drawn = draw(train, words, seed=recipe.seed, step=step, batch=recipe.batch, length=context)
        ids = workers.share(torch.from_numpy(drawn)).to(device)
        kind = batch_kind(recipe, step, len(laid))
        if kind is not None:
            return plan_loss(model, laid[kind], ids)
        return F.cross_entropy(model(ids, wanted).float().flatten(0, 1), ids[:, target].flatten())

    def judged() -> dict[str, float]:
        under = {
            f"loss_{label}": judge_plan(model, one, watched, words) for label, one in zip(labels, laid, strict=True)
        }
        return judge(model, watched, words, device=device).row() | under

    return optimise(
        model, recipe, run, loss_of, judged,
        device=device, checkpoint_every=checkpoint_every, judge_start=True, on_step=on_step, workers=workers,
    )  # fmt: skip


def _layout_of(plans: Sequence[Plan], config: McArConfig) -> Layout:
    layouts = {plan.layout for plan in plans}
    if len(layouts) != 1:
        raise SpecError(f"expected plans of one layout, got {len(layouts)} layouts. Compile them for one.")
    (layout,) = layouts
    if layout != training_layout(config, layout.frames + 1) or config.action_tokens != _TOKENS:
        raise SpecError(
            f"expected plans for one given frame of {config.rows} x {config.cols} tokens and {_TOKENS} tokens an "
            f"action, got {layout}. Make their layout with training_layout."
        )
    return layout


def _labels(plans: Sequence[Plan]) -> list[str]:
    labels = [plan_label(plan) for plan in plans]
    if len(set(labels)) != len(labels):
        raise SpecError(f"expected plans that differ in k or d, got {', '.join(labels)}. Leave out what is twice.")
    return labels


def _settings(recipe: FinetuneRecipe, plans: Sequence[Plan], model: TrainedMcAr) -> dict[str, object]:
    """What decides the result; weights by a hash, plans by what they were compiled from."""
    digest = hashlib.sha256(repr(model.config).encode())
    for weight in model.weights().values():
        digest.update(weight.detach().cpu().numpy().tobytes())
    return asdict(recipe) | {
        "begins_with": digest.hexdigest()[:16],
        "plans": [_tuning_plan(plan).model_dump(mode="json") for plan in plans],
    }


def tuning(base: str, recipe: FinetuneRecipe, plans: Sequence[Plan]) -> Tuning:
    """What world.json says of a fine-tuning that began with the world ``base``."""
    return Tuning(
        base=base, steps=recipe.steps, ntp_share=recipe.ntp_share, plans=tuple(_tuning_plan(plan) for plan in plans)
    )


def _tuning_plan(plan: Plan) -> TuningPlan:
    schedule, policies = plan.schedule, plan.policies
    return TuningPlan(
        schedule=schedule.name,
        k=schedule.k,
        d=schedule.d,
        proxy=policies.proxy,
        row_end=policies.row_end,
        proxy_kv=policies.proxy_kv,
        visibility=policies.visibility,
    )
