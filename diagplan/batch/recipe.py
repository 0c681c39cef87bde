"""What is done with every clip: the model, the plan, the sampling; and which part of it decides about tokens."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.adapters.options import LoadOptions
from diagplan.backends.measured import SpeculationChoice
from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.policy import Policies, bundle_schedule
from diagplan.planner.schedule import Diagonal, NextToken, Schedule

__all__ = ["Recipe", "digest_of", "file_digest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done with every clip of a batch; plain data, which goes to workers.

    Args:
        model: as for ``diagplan.load_world``.
        options: how it is loaded.
        weights: of a release.
        tokenizer: of a release.
        text_encoder: a local folder of T5-11B, for jobs with a text.
        schedule: of every clip, or of each window.
        policies: of proxies and their cache slots.
        bundle: the bundle that says the frame delay where ``schedule`` is diagonal and has none.
        plan: the file of a plan to replay instead.
        frames: to generate; ``None``: as many as the context and a clip's actions allow. A job may say its own.
        prompt_frames: given; ``None``: as the world has it.
        keep: as for ``diagplan.plan_for``.
        sampling: ``temperature``, ``top_k``, ``top_p`` and ``min_p`` of ``diagplan.sampler_for``; ``None``: greedy.
        seed: with a job's name it makes the seed of a job that says none.
        speculation: as for ``diagplan.replay``.
        batch: samples that pass the model together; places without a clip are filled up with copies.
        fps: of the videos; ``None``: the world's.
        pictures: whether videos are written, beside the tokens.

    Raises:
        SpecError: an argument of another kind or out of range; a plan file beside what it says itself.
    """

    model: str = "crafter-mini"
    options: LoadOptions = field(default_factory=LoadOptions)
    weights: Path | None = None
    tokenizer: Path | None = None
    text_encoder: Path | None = None
    schedule: Schedule | None = None
    policies: Policies | None = None
    bundle: str | None = None
    plan: Path | None = None
    frames: int | None = None
    prompt_frames: int | None = None
    keep: int | None = None
    sampling: Mapping[str, Any] | None = None
    seed: int = 0
    speculation: SpeculationChoice | None = None
    batch: int = 4
    fps: int | None = None
    pictures: bool = True

    def __post_init__(self) -> None:
        require_kind("model", self.model, str, "Give a name or a folder, such as 'crafter-mini'.", what="text")
        require_kind("options", self.options, LoadOptions, "Give LoadOptions(...).")
        require_int("batch", self.batch, 1, largest=4096)
        require_int("seed", self.seed, 0)
        for name in ("frames", "prompt_frames", "keep", "fps"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), 1)
        if self.plan is None:
            return
        asked = ("schedule", "policies", "frames", "prompt_frames", "keep")
        given = next((name for name in asked if getattr(self, name) is not None), None)
        if given is not None:
            raise SpecError(f"expected plan or {given}, got both. A plan file says frames, schedule and policies.")

    def schedule_for(self, layout: Layout) -> Schedule:
        """The schedule of a clip of this layout, or of a window."""
        timing = self.schedule or NextToken()
        if self.bundle is not None and isinstance(timing, Diagonal) and timing.d is None:
            return bundle_schedule(self.bundle, layout, timing.k)
        return timing

    def identity(self) -> dict[str, Any]:
        """What decides about the tokens of a clip, beside the model's weights and the job; JSON.

        How many samples pass together, on how many threads and devices, is not in it.

        Raises:
            DocumentError: a file that is named cannot be read.
        """
        timing, context = self.schedule or NextToken(), self.options.context
        return {
            "plan": None if self.plan is None else file_digest(self.plan),
            "schedule": {"name": type(timing).__name__, **asdict(timing)} if self.plan is None else None,
            "policies": asdict(self.policies or Policies()) if self.plan is None else None,
            "bundle": self.bundle,
            "frames": self.frames,
            "prompt_frames": self.prompt_frames,
            "keep": self.keep,
            "sampling": None if self.sampling is None else dict(self.sampling),
            "seed": self.seed,
            "exact": self.speculation is not None,
            "backend": self.options.backend,
            "dtype": self.options.dtype,
            "quantize": self.options.quantize,
            "context": file_digest(context) if isinstance(context, str | Path) else _array_digest(context),
            "fps": self.fps,
            "pictures": self.pictures,
        }


def _array_digest(array: Any) -> str | None:
    return None if array is None else hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def digest_of(document: Any) -> str:
    """The SHA-256 of a value as JSON with sorted keys.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's bytes; of a folder, of the names and bytes of the files in it and below.

    Raises:
        DocumentError: it cannot be read.
    """
    place = Path(path)
    try:
        if not place.is_dir():
            with place.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        whole = hashlib.sha256()
        for inner in sorted(one for one in place.rglob("*") if one.is_file()):
            whole.update(f"{inner.relative_to(place).as_posix()} {file_digest(inner)}\n".encode())
        return whole.hexdigest()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"cannot read {place}: {reason}. Check the name and the permissions.") from None
