"""What a worker does with jobs for a world model: look at each clip, replay those of one plan together, write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.errors import NumericError
from diagplan.backends.given import known_ids
from diagplan.batch.jobs import Job, seed_of
from diagplan.batch.layouts import Layouts, PlannedClips
from diagplan.batch.messages import Outcome
from diagplan.batch.recipe import Recipe, digest_of, file_digest
from diagplan.batch.records import finished, folder_of, place_of, read_record, write_record
from diagplan.batch.texts import Texts
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.planner.shown import shown
from diagplan.schemas.arrays import read_npy
from diagplan.schemas.atomic import make_folder, npy_bytes, write_atomically
from diagplan.video.files import VideoWriter
from diagplan.worlds.generation import prompt_tokens, require_actions, require_frames
from diagplan.worlds.loading import open_world
from diagplan.worlds.prompts import cut_frames
from diagplan.worlds.world import World

__all__ = ["Clip", "ClipWork", "open_clips"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A job that was looked at.

    Attributes:
        job: the job.
        made_from: all that decides about its tokens, as digests.
        planned: its plan.
        prompt: tokens of the prompt frames, int64 [F, rows, cols].
        blocks: actions, int64 [F - 1 + T, n].
        shown: prompt frames, uint8 [n, height, width, 3].
        text: what leads it, as of ``Texts``; ``None``: nothing of its own.
        seed: of its sampling.
    """

    job: Job
    made_from: Mapping[str, Any]
    planned: PlannedClips
    prompt: Ids
    blocks: Ids
    shown: Frames
    text: str | None
    seed: int


def open_clips(recipe: Recipe, out: Path) -> "ClipWork":
    """A worker's work: the model is loaded, and the plan of the usual clip compiled.

    Raises:
        DiagplanError: as ``diagplan.load_world`` and ``diagplan.plan_for``.
    """
    world = open_world(recipe.model, recipe.options, weights=recipe.weights, tokenizer=recipe.tokenizer)
    return ClipWork(world, recipe, out)


class ClipWork:
    """A world model with plans laid out, and a folder.

    Args:
        world: opened; its transformer is loaded here, once.
        recipe: what is done with every clip.
        out: the batch's folder.
    """

    def __init__(self, world: World, recipe: Recipe, out: Path) -> None:
        self.world, self.recipe, self.out = world, recipe, out
        self.texts = Texts(world, recipe.text_encoder, max(4, recipe.batch))
        self.layouts = Layouts(world, self.texts.model, recipe)
        model = self.texts.model
        self.identity: Mapping[str, Any] = {
            "model": {
                "family": world.source.adapter,
                "weights": model.fingerprint(),
                "tokenizer": file_digest(world.source.tokenizer),
            }
        }
        self._digest = digest_of({"recipe": recipe.identity(), **self.identity})

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Make clips, and write them.

        Raises:
            DiagplanError: what no clip could be written for: a full disk, too little memory.
        """
        outcomes: list[Outcome] = []
        groups: dict[tuple[str, str | None], list[Clip]] = {}
        for job in jobs:
            try:
                looked = self._look(job)
            except DiagplanError as error:
                looked = _wrong(job, error)
            if isinstance(looked, Outcome):
                outcomes.append(looked)
            else:
                groups.setdefault((looked.planned.digest, looked.text), []).append(looked)
        for clips in groups.values():
            for first in range(0, len(clips), self.layouts.rows):
                outcomes += self._make(clips[first : first + self.layouts.rows])
        return outcomes

    # Looking

    def _look(self, job: Job) -> Clip | Outcome:
        """A clip that is to be made, or what became of it before.

        Raises:
            DiagplanError: it cannot be made.
        """
        world = self.world
        seed = seed_of(self.recipe.seed, job.id) if job.seed is None else job.seed
        made_from = {
            "batch": self._digest,
            "seed": seed,
            "frames": job.frames,
            "text": job.text,
            "inputs": {name: file_digest(path) for name, path in job.files().items()},
        }
        record = read_record(self.out, job.id)
        if record is not None and finished(self.out, job.id, record, made_from):
            frames, tokens = (held if type(held := record.get(key)) is int else 0 for key in ("frames", "tokens"))
            return Outcome(number=job.number, id=job.id, state="there", frames=frames, tokens=tokens)
        if record is not None and record.get("line") != job.number and record.get("digest") != digest_of(made_from):
            raise SpecError(
                f"expected ids that differ, got id={shown(job.id)}, whose clip is there from line "
                f"{shown(record.get('line'))} and of other inputs. Name each job for itself, or remove "
                f"{place_of(self.out, job.id, '.json')}."
            )
        if world.block and job.actions is None:
            raise SpecError(
                f"expected actions, which lead {world.name} from frame to frame, got none. Give their file."
            )
        actions = None if job.actions is None else world.read_actions(job.actions)
        text = self.texts.of(job)
        planned = self.layouts.planned(actions, job.frames)
        given, frames = planned.prompt_frames, planned.frames
        blocks = require_actions(actions, given, frames) if world.block else np.zeros((given - 1 + frames, 0), np.int64)
        prompt, pictures = self._prompt(job, given)
        known_ids(blocks, self.texts.model)
        return Clip(
            job=job, made_from=made_from, planned=planned, prompt=prompt, blocks=blocks, shown=pictures, text=text,
            seed=seed,
        )  # fmt: skip

    def _prompt(self, job: Job, given: int) -> tuple[Ids, Frames]:
        """Tokens of the prompt frames, int64 [F, rows, cols], and their pictures, uint8 [n, height, width, 3]."""
        world = self.world
        if job.video is not None:
            frames = list(islice(world.read_frames(job.video), world.pictures(given)))
            require_frames(frames, world.pictures(given), job.video)
            pictures = cut_frames(world, frames)
            return prompt_tokens(world, pictures), pictures
        assert job.tokens is not None
        tokens = read_npy(job.tokens, of="integers")
        wanted = (given, world.rows, world.cols)
        if tokens.dtype.kind not in "iu" or tokens.shape != wanted:
            raise DocumentError(
                f"expected tokens of the prompt, int {list(wanted)}, got {tokens.dtype} {list(tokens.shape)} in "
                f"{job.tokens}. Save the newest {given} frames."
            )
        ids = known_ids(tokens, self.texts.model)
        codes = getattr(world.tokenizer, "codes", None)
        if codes is not None and ids.size and ids.max() >= codes:
            raise DocumentError(f"expected image tokens below {codes}, got {ids.max()} in {job.tokens}.")
        if not self.recipe.pictures:
            return ids, np.zeros((0, world.height, world.width, 3), np.uint8)
        decoded: Frames = world.tokenizer.decode(ids)
        return ids, decoded[: world.pictures(given)]

    # Making

    def _make(self, clips: list[Clip]) -> list[Outcome]:
        """Clips of one plan and one text, replayed together and written."""
        planned = clips[0].planned
        filled = [*clips, *[clips[-1]] * (self.layouts.rows - len(clips))]
        try:
            tokens, passes = self.layouts.replay(
                planned,
                self.texts.bound(clips[0].text),
                np.stack([clip.prompt for clip in filled]),
                np.stack([clip.blocks for clip in filled]),
                [clip.seed for clip in filled],
                **self.watching(clips),
            )
        except NumericError as error:
            if len(clips) == 1:
                return [_wrong(clips[0].job, error)]
            return [outcome for clip in clips for outcome in self._make([clip])]
        share = passes / len(clips)
        return [self._write(clip, tokens[row], share) for row, clip in enumerate(clips)]

    def watching(self, clips: Sequence[Clip]) -> dict[str, Any]:
        """What ``Layouts.replay`` is to call while it makes these clips."""
        del clips
        return {}

    def pictures_of(self, clip: Clip, tokens: Ids) -> Iterator[Frames]:
        """The pictures of each generated frame of tokens, uint8 [n, height, width, 3]."""
        pictures = self.world.decoding(clip.prompt)
        for one in tokens:
            yield pictures(one)

    def _write(self, clip: Clip, tokens: Ids, passes: float) -> Outcome:
        """Tokens, video and, last, the record."""
        name, planned, world = clip.job.id, clip.planned, self.world
        make_folder(folder_of(self.out, name))
        write_atomically(place_of(self.out, name, ".npy"), npy_bytes(tokens))
        if self.recipe.pictures:
            with VideoWriter(place_of(self.out, name, ".mp4"), fps=self.recipe.fps or world.fps) as video:
                for frame in clip.shown:
                    video.add(frame)
                for pictures in self.pictures_of(clip, tokens):
                    for frame in pictures:
                        video.add(frame)
        frames = world.pictures(planned.prompt_frames + planned.frames) - world.pictures(planned.prompt_frames)
        facts = {
            "line": clip.job.number, "seed": clip.seed, "plan": planned.digest, "steps": planned.steps,
            "frames": frames, "tokens": int(tokens.size),
        }  # fmt: skip
        endings = [".npy", ".mp4"] if self.recipe.pictures else [".npy"]
        write_record(self.out, name, clip.made_from, facts, endings)
        return Outcome(
            number=clip.job.number, id=name, state="done", frames=frames, tokens=int(tokens.size), passes=passes
        )


def _wrong(job: Job, error: DiagplanError) -> Outcome:
    return Outcome(number=job.number, id=job.id, state="wrong", message=str(error))
