"""The loop that every training of a world model shares: rates, steps, checkpoints, log."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from diagplan.training.llama import TrainedMcAr
from diagplan.training.parallel import ALONE, Workers
from diagplan.training.runs import Run

__all__ = ["Optimised", "cosine_rate", "optimise"]


class Optimised(Protocol):
    """What the loop asks of a recipe: AdamW's settings, steps, and the learning rate of each."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        ...

    @property
    def learning_rate(self) -> float:
        """The highest."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of matrices; norms are not decayed."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """Of AdamW."""
        ...

    @property
    def bfloat16(self) -> bool:
        """Whether matrix products are in bfloat16."""
        ...

    def rate(self, step: int) -> float:
        """The learning rate of one step."""
        ...


def cosine_rate(step: int, *, steps: int, warm_up: int, highest: float) -> float:
    """A linear warm-up, then a cosine down to a tenth."""
    if step < warm_up:
        return highest * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return highest * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def optimise(
    model: TrainedMcAr,
    recipe: Optimised,
    run: Run,
    loss_of: Callable[[int], Tensor],
    judged: Callable[[], Mapping[str, float]],
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    judge_start: bool = False,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
    workers: Workers = ALONE,
) -> TrainedMcAr:
    """Train, or go on from the run's last checkpoint.

    Args:
        model: on its device.
        recipe: how.
        run: where checkpoints and the log go.
        loss_of: step -> the loss of this worker's share of the step's batch.
        judged: what the log says of the model at a checkpoint.
        device: where the model is.
        checkpoint_every: steps between two checkpoints; there is one after step 20 and one at the end as well.
        judge_start: log the model before the first step, too.
        on_step: called with the number of steps done and their last loss.
        workers: who trains.
    """
    matrices, norms = model.decayed()
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
    start = run.resume(model, optimizer)
    if judge_start and start == 0 and workers.first:
        run.log(0, **judged())
    kind = torch.device(device).type
    for step in range(start, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.bfloat16):
            loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        mean_loss = loss.detach()
        workers.average([*(weight.grad for weight in model.parameters()), mean_loss])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, {"loss": float(mean_loss)})
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps or step + 1 == 20:
            if workers.first:
                run.log(step + 1, train_loss=float(mean_loss), **judged())
                run.save(model, optimizer, step + 1)
            workers.wait()
    return model.eval()
