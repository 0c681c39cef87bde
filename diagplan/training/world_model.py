"""Train a world model, a small MC-AR, on tokenized clips: next-token prediction of every frame but the first.

Logged from the start: the loss, the share of tokens right, and the *action gap*: how much the loss grows when every
move is replaced by its opposite. A model that ignores the actions has a gap of 0.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.mc_ar import McArConfig
from diagplan.planner.errors import SpecError
from diagplan.training.llama import TrainedMcAr
from diagplan.training.loop import cosine_rate, optimise
from diagplan.training.recipes import require_numbers
from diagplan.training.runs import Run
from diagplan.training.sequences import TokenClips

__all__ = [
    "Judgement",
    "Vocabulary",
    "WorldRecipe",
    "draw",
    "held_out",
    "judge",
    "predicted_places",
    "require_length",
    "train_world_model",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldRecipe:
    """Everything that decides the model that comes out, apart from clips and tokenizer.

    Attributes:
        hidden, mlp, layers, heads, rope: sizes, see ``McArConfig``.
        context: frames of a training sequence.
        steps, batch: optimizer steps, sequences a step.
        learning_rate: highest; after a linear warm-up it falls along a cosine to a tenth.
        weight_decay, betas: of AdamW; norms are not decayed.
        seed: of the weights and of what is drawn.
        bfloat16: matrix products in bfloat16 (torch's autocast), weights and sums in float32.
    """

    hidden: int = 256
    mlp: int = 512
    layers: int = 6
    heads: int = 4
    rope: str = "3d"
    context: int = 8
    steps: int = 4500
    batch: int = 4
    learning_rate: float = 1e-3
    warm_up: int = 100
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    seed: int = 0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        require_numbers(self, steps=1, batch=1, hidden=1, mlp=1, layers=1, heads=1, context=2, warm_up=0, seed=0)
        if self.hidden % (2 * self.heads):
            raise SpecError(
                f"expected a width that heads of even width divide, got hidden={self.hidden} and heads={self.heads}. "
                f"Give a multiple of {2 * self.heads}, or other heads."
            )
        if self.rope not in ("1d", "3d"):
            raise SpecError(f"expected rope to be 1d or 3d, got rope={self.rope!r}.")

    def config(self, rows: int, cols: int, codes: int, vocab: int) -> McArConfig:
        """The configuration of the model for frames of ``rows`` x ``cols`` tokens and 3 tokens an action."""
        return McArConfig(
            hidden_size=self.hidden,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            vocab_size=vocab,
            max_position_embeddings=self.context * (rows * cols + 3),
            image_vocab=codes,
            rope="3d" if self.rope == "3d" else "1d",
            rows=rows,
            cols=cols,
            action_tokens=3,
        )

    def rate(self, step: int) -> float:
        """The learning rate of one step."""
        return cosine_rate(step, steps=self.steps, warm_up=self.warm_up, highest=self.learning_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The ids after the image codes, and which action is whose opposite (by id)."""

    begin: int
    end: int
    opposites: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A model on held-out clips, teacher-forced, with next-token masks.

    Attributes:
        loss: nats a token, over all frames but the first.
        accuracy: share of tokens that are the likeliest.
        moved_accuracy: the same, over frames in which the player moved.
        gap: the loss with opposite actions, less the loss, both over frames that follow a move.
        moved_loss: the loss over those frames.
    """

    loss: float
    accuracy: float
    moved_accuracy: float
    moved_loss: float
    gap: float

    def row(self) -> dict[str, float]:
        """What a training's log says of it."""
        return {
            "validation_loss": self.loss,
            "accuracy": self.accuracy,
            "moved_accuracy": self.moved_accuracy,
            "action_gap": self.gap,
        }


@torch.no_grad()
def judge(
    forward: Callable[[Tensor, Tensor], Tensor],
    clips: TokenClips,
    words: Vocabulary,
    *,
    device: str | torch.device = "cpu",
    batch: int = 16,
) -> Judgement:
    """Judge a model on whole clips of the length of its context.

    Args:
        forward: ids [B, N], places [n] -> the logits of those places in one causal pass, float32 [B, n, V].
        clips: what to judge it on.
        words: which ids are actions, and whose opposites.
        device: where the model is.
        batch: clips at a time.
    """
    wanted, target = predicted_places(clips, torch.device(device))
    swapped = TokenClips(
        frames=clips.frames,
        actions=np.vectorize(lambda action: words.opposites.get(action, action))(clips.actions),
        moved=clips.moved,
    )
    n, t = clips.frames.shape[:2]
    losses: list[Tensor] = []
    opposite: list[Tensor] = []
    right: list[Tensor] = []
    for at in range(0, n, batch):
        for source, kept in ((clips, losses), (swapped, opposite)):
            ids = torch.from_numpy(source.sequences(words.begin, words.end)[at : at + batch]).to(device)
            logits = forward(ids, wanted)
            truth = ids[:, target]
            each = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
            kept.append(each.view(len(ids), t - 1, -1))
            if source is clips:
                right.append((logits.argmax(-1) == truth).view(len(ids), t - 1, -1))
    loss, other, fine = (torch.cat(parts).cpu().double() for parts in (losses, opposite, right))
    moves = torch.from_numpy(np.isin(clips.actions, list(words.opposites)))
    moved = torch.from_numpy(clips.moved.any(-1))
    return Judgement(
        loss=float(loss.mean()),
        accuracy=float(fine.mean()),
        moved_accuracy=float(fine[moved].mean()) if moved.any() else math.nan,
        moved_loss=float(loss[moves].mean()) if moves.any() else math.nan,
        gap=float(other[moves].mean() - loss[moves].mean()) if moves.any() else 0.0,
    )


def predicted_places(clips: TokenClips, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places whose logits predict the cells of every frame but the first, and the places of those cells."""
    t, rows, cols = clips.frames.shape[1:]
    cells = np.arange(rows * cols)
    target = np.concatenate([frame * (rows * cols + 3) + cells for frame in range(1, t)])
    return torch.from_numpy(target - 1).to(device), torch.from_numpy(target).to(device)


def train_world_model(
    recipe: WorldRecipe,
    config: McArConfig,
    words: Vocabulary,
    train: TokenClips,
    validation: TokenClips,
    folder: str | Path,
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> TrainedMcAr:
    """Train, or go on from the last checkpoint in ``folder``; the same recipe and clips give the same steps.

    Raises:
        SpecError: clips shorter than the context; DocumentError: the folder belongs to another run.
    """
    require_length(recipe.context, train, validation)
    run = Run(folder, asdict(recipe) | {"clips": len(train.frames)})
    model = TrainedMcAr(config, seed=recipe.seed).to(device)
    watched = held_out(validation, recipe.context)
    wanted, target = predicted_places(watched, torch.device(device))

    def loss_of(step: int) -> Tensor:
        drawn = draw(train, words, seed=recipe.seed, step=step, batch=recipe.batch, length=recipe.context)
        ids = torch.from_numpy(drawn).to(device)
        logits = model(ids, wanted)
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, target].flatten())

    return optimise(
        model, recipe, run, loss_of, lambda: judge(model, watched, words, device=device).row(),
        device=device, checkpoint_every=checkpoint_every, on_step=on_step,
    )  # fmt: skip


def require_length(frames: int, *every: TokenClips) -> None:
    """Raise ``SpecError`` unless clips have so many frames."""
    for clips in every:
        if clips.frames.shape[1] < frames:
            raise SpecError(
                f"expected clips of at least {frames} frames, got {clips.frames.shape[1]}. "
                "Record longer ones, or train on a shorter context."
            )


def held_out(clips: TokenClips, length: int, limit: int = 64) -> TokenClips:
    """Windows side by side, spread over the clips."""
    each = clips.frames.shape[1] // length
    every = [(clip, window * length) for window in range(each) for clip in range(len(clips.frames))][:limit]
    chosen = np.array(every)
    return clips.windows(chosen[:, 0], chosen[:, 1], length)


def draw(clips: TokenClips, words: Vocabulary, *, seed: int, step: int, batch: int, length: int) -> NDArray[np.int64]:
    """The sequences of one step, a function of the seed and the step alone."""
    random = np.random.default_rng((seed, step))
    n, t = clips.frames.shape[:2]
    clip = random.integers(n, size=batch)
    first = random.integers(t - length + 1, size=batch)
    return clips.windows(clip, first, length).sequences(words.begin, words.end)
