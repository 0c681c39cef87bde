"""One job of drawing: texts as ids, plans, a token model that is loaded and let go, pixels of its tokens.

Shapes: B pictures, h rows and w columns of tokens.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Greedy
from diagplan.backends import replay as executor
from diagplan.backends.arguments import require_seed
from diagplan.backends.errors import MismatchError
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.promise import Promise, promise_of
from diagplan.backends.speculative import Speculated
from diagplan.backends.table import options_for
from diagplan.images.defaults import Choice, default_sampler
from diagplan.images.folder import ModelFolder, open_folder
from diagplan.images.judging import losses_of
from diagplan.images.painters import Painter, Weights, painter_named
from diagplan.images.prompts import Prompted, Request
from diagplan.models.estimates import estimate_before_loading, require_memory_before_loading
from diagplan.models.loading import load_model_as, replay_ids
from diagplan.planner.arguments import require_number
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import NextToken, Schedule
from diagplan.planner.speculation import Speculation

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.backends.memory import Memory

__all__ = ["Decoded", "ImageJob", "Scheduled", "passes_of"]

#: A schedule for every grid, or a function that is asked for one with the grid's layout.
Scheduled = Schedule | Callable[[Layout], Schedule]
OnPass = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Tokens of all pictures.

    Attributes:
        tokens: ids of the picture's grid, int64 [B, h, w].
        earlier: those of the grids before it, such as a preview's.
        seconds: of all passes.
        passes: of a batch, all grids; of several the most.
        speculation: as asked for or as measured; ``None``: step by step.
        feeds: of speculative passes, those of a draft's plan apart: how many there are in any.
    """

    tokens: NDArray[np.int64]
    earlier: tuple[NDArray[np.int64], ...]
    seconds: float
    passes: int
    speculation: Speculation | None = None
    feeds: frozenset[int] = frozenset()


class ImageJob:
    """What ``draw_image`` and ``compare_images`` are made of.

    Attributes:
        folder, painter: of the model.
        prompted: ids of all pictures.
        choice: the sampler, and where it comes from.
        guidance: the weights of the branches; ``None``: there is one.
        scale: of guidance, as it was given or as the release has it.
    """

    def __init__(
        self,
        model: str | Path,
        request: Request,
        *,
        num: int = 1,
        guidance: float | None = None,
        choice: Callable[[Choice], Choice] | None = None,
        options: LoadOptions | None = None,
        weights: Path | None = None,
        vq: Path | None = None,
        loaded: "Model | None" = None,
        batch: int | None = None,
        chunk: int = 512,
        seed: int = 0,
    ) -> None:
        """Read the folder's JSON files and its tokenizer; no weight.

        Args:
            model: the folder.
            request: what is asked for; every prompt is drawn ``num`` times.
            num: pictures of each prompt.
            guidance: the scale; ``None``: the release's own. 1 is no guidance.
            choice: what is made of the folder's own sampler.
            options: how the token model is loaded.
            weights: of the token model where they lie elsewhere: what ``diagplan export-onnx`` wrote.
            vq: a file of the image decoder, where the folder has none.
            loaded: the token model, where it is loaded already.
            batch: pictures that are decoded at once; ``None``: all.
            chunk: feeds of the widest pass.
            seed: of the noise; a picture is keyed by (seed, its number).

        Raises:
            DiagplanError: the folder, the request or an option does not fit.
        """
        options = options or LoadOptions()
        self.folder: ModelFolder = open_folder(model, vq, options.config)
        self.painter: Painter = painter_named(self.folder.painter)
        num = require_int("num", num, 1)
        scale = _scale(guidance, self.painter)
        if scale is None and self.painter.guided and request.negative is not None:
            raise SpecError(
                "expected a scale of guidance beside a negative prompt, got none. Without one it changes nothing. Give "
                "guidance, such as 3, or leave the negative prompt out."
            )
        texts = tuple(text for text in request.texts for _ in range(num))
        features = tuple(path for path in request.features for _ in range(num))
        self.prompted: Prompted = self.painter.prompts(
            self.folder, replace(request, texts=texts, features=features, guided=scale is not None)
        )
        branches = len(self.prompted.branches)
        self.guidance: Weights | None = None if scale is None else self.painter.weights(scale, branches)
        self.scale = scale
        own = default_sampler(self.folder, self.painter.sampler, self.painter.release, sampled=self.painter.sampled)
        self.choice = own if choice is None else choice(own)
        self.options = options if weights is None else options_for(weights, options.replaced(config=None))
        self.weights, self._model = weights or self.folder.model, loaded
        self._kept = loaded is not None
        self.batch = len(texts) if batch is None else min(len(texts), require_int("batch", batch, 1))
        self.chunk, self.seed = require_int("chunk", chunk, 1), require_seed(seed)
        self._require_context()

    @property
    def pictures_asked(self) -> int:
        """B."""
        return len(self.prompted.texts)

    @property
    def rows(self) -> int:
        """Rows of the model's batch: pictures of a batch, once for each branch."""
        return self.batch * len(self.prompted.branches)

    def _require_context(self) -> None:
        """Refuse a prompt that leaves no room for the picture, before anything is loaded."""
        context, last = self.folder.context, self.prompted.layouts[-1]
        if context is not None and last.positions > context:
            lead = self.prompted.layouts[0].lead
            raise MismatchError(
                f"expected a prompt and a picture of at most {context} ids, the max_position_embeddings of "
                f"{self.folder.model / 'config.json'}, got {last.positions}: {lead} of the longest prompt, "
                f"{last.positions - lead} of the picture. Give a shorter prompt, or a smaller picture."
            )

    def compile(self, schedule: Scheduled | None = None, policies: Policies | None = None) -> tuple[Plan, ...]:
        """The plan of every grid.

        Raises:
            SpecError: a schedule that does not fit a grid.
        """
        plans = []
        for layout in self.prompted.layouts:
            timing = NextToken() if schedule is None else schedule(layout) if callable(schedule) else schedule
            plans.append(compile_plan(layout, timing, policies))
        return tuple(plans)

    def require_memory(
        self,
        plans: Sequence[Plan],
        report: Callable[["Memory"], None] | None = None,
        speculation: "SpeculationChoice | None" = None,
    ) -> "Memory | None":
        """The estimate of memory, from headers; raises ``CapacityError`` where there is too little."""
        if self._model is not None:
            return None
        return require_memory_before_loading(
            self.painter.family, self.weights, plans, self.options, batch=self.rows, chunk=self.chunk,
            sampled=not isinstance(self.choice.sampler, Greedy), speculation=speculation, report=report,
        )  # fmt: skip

    def require_memory_of_all(
        self,
        ways: Sequence[tuple[Sequence[Plan], "SpeculationChoice | None"]],
        report: Callable[["Memory"], None] | None = None,
    ) -> "Memory | None":
        """The same of plans that are decoded one after the other, each as it is replayed: of the one that takes most.

        Args:
            ways: of each the plans of all grids, and how they are replayed.
            report: as for ``require_memory``.
        """
        if self._model is not None or not ways:
            return None
        estimates = [
            estimate_before_loading(
                self.painter.family, self.weights, plans, self.options, batch=self.rows, chunk=self.chunk,
                sampled=not isinstance(self.choice.sampler, Greedy), speculation=speculation,
            )
            for plans, speculation in ways
        ]  # fmt: skip
        most = max(range(len(ways)), key=lambda n: 0 if (memory := estimates[n]) is None else memory.total)
        return self.require_memory(ways[most][0], report, ways[most][1])

    def load(self) -> "Model":
        """The token model; it is loaded once."""
        if self._model is None:
            self._model = load_model_as(self.painter.family, self.weights, self.options)
        return self._model

    def let_go(self) -> None:
        """Forget the token model, unless it was handed in: what makes pixels may need its memory."""
        if not self._kept:
            self._model = None
            gc.collect()
            if self.options.device.startswith("cuda"):
                import torch

                torch.cuda.empty_cache()

    def require_speculation(self, speculation: SpeculationChoice | None) -> None:
        """Raise ``SpecError`` where a speculation is asked for that the family's plans do not take."""
        if speculation is not None and len(self.prompted.layouts) > 1:
            raise SpecError(
                f"expected no speculation for {self.painter.title}, whose plans are a chain, got one. Leave it out."
            )

    def warm_up(self, plans: Sequence[Plan]) -> None:
        """One pass of the first plan, so that what a first pass costs is in no plan's time."""
        model, part = self.load(), self.prompted.only(slice(0, self.batch))
        ids, options = self._rows(part, range(self.batch))
        prepared = executor.prepare(plans[0], model, batch=self.batch, **options)
        executor.replay(prepared, executor.new_state(prepared, ids, self._lead(model, part)), cancelled=lambda: True)

    def decode(
        self, plans: Sequence[Plan], on_pass: OnPass | None = None, speculation: SpeculationChoice | None = None
    ) -> Decoded:
        """Tokens by plans.

        Args:
            plans: from ``compile``.
            on_pass: called with the steps that are done, and of how many; each is a pass, but with speculation.
            speculation: as for ``diagplan.replay``; not of several grids.

        Raises:
            DiagplanError: as ``diagplan.replay``.
        """
        self.require_speculation(speculation)
        model = self.load()
        count, passes, taken = self.pictures_asked, passes_of(plans), 0
        settled = None
        if speculation is not None:
            settled = settled_speculation(speculation, plans[0], model, sampler=self.choice.sampler, rows=self.rows)
        feeds: set[int] = set()
        parts: list[tuple[NDArray[np.int64], ...]] = []
        batches = range(0, count, self.batch)
        seconds = 0.0

        def stepped(done: int) -> None:
            if on_pass is not None:
                on_pass(len(parts) * passes + done, passes * len(batches))

        for first in batches:
            numbers = range(first, min(count, first + self.batch))
            part = self.prompted.only(slice(numbers.start, numbers.stop))
            tokens, took, number = self._grids(plans, model, part, numbers, stepped, settled, feeds)
            parts.append(tokens)
            seconds, taken = seconds + took, max(taken, number)
        grids = [np.concatenate(grid) for grid in zip(*parts, strict=True)]
        return Decoded(
            tokens=grids[-1], earlier=tuple(grids[:-1]), seconds=seconds, passes=taken, speculation=settled,
            feeds=frozenset(feeds),
        )  # fmt: skip

    def promise(self, plans: Sequence[Plan], decoded: Decoded) -> Promise | None:
        """What a probe of the passes in use says of the tokens' bits; ``None``: they were decoded step by step."""
        if decoded.speculation is None:
            return None
        _, options = self._rows(self.prompted.only(slice(0, self.batch)), range(self.batch))
        return promise_of(plans[0], self.load(), decoded.speculation, feeds=decoded.feeds, batch=self.batch, **options)

    def _grids(
        self,
        plans: Sequence[Plan],
        model: "Model",
        part: Prompted,
        numbers: range,
        on_pass: Callable[[int], None],
        speculation: Speculation | None,
        feeds: set[int],
    ) -> tuple[tuple[NDArray[np.int64], ...], float, int]:
        """Tokens of every grid of a batch, int64 [B, h, w] each, the seconds of their passes, and their number."""
        rows, common = self._rows(part, numbers)
        if len(plans) == 1:
            done = replay_ids(
                plans[0], model, rows[: len(numbers)], rows, lead=self._lead(model, part), speculation=speculation,
                on_pass=on_pass, **common,
            )  # fmt: skip
            taken = plans[0].steps
            if isinstance(done, Speculated):
                taken = done.passes
                feeds.update(done.feeds[done.drafted :].tolist())
            return (done.tokens[:, 0],), done.seconds, taken
        from diagplan.backends.chained import replay_chain

        chain = _chain(plans)
        chained = replay_chain(chain, model, rows, on_pass=on_pass, batch=len(numbers), **common)
        return tuple(tokens[:, 0] for tokens in chained.tokens), chained.seconds, chain.cost().passes

    def _rows(self, part: Prompted, numbers: range) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Given ids of all rows, int64 [rows, G], and what replay is asked with."""
        return np.concatenate([part.given(branch) for branch in range(len(part.branches))]), {
            "sampler": self.choice.sampler,
            "seed": self.seed,
            "samples": list(numbers),
            "guidance": self.guidance,
            "pad": part.pad if part.pad.any() else None,
            "chunk": self.chunk,
        }

    def _lead(self, model: "Model", part: Prompted) -> Any:
        """Embeddings of all rows, for a model that is led by those."""
        return None if self.painter.embeddings is None else self.painter.embeddings(model, part)

    def losses(self, decoded: Decoded) -> NDArray[np.float64]:
        """The token model's own loss of each picture, nats a token, float64 [B]; ``teacher_forced_loss`` says which.

        Raises:
            NumericError: as there.
        """
        return losses_of(
            self.load(), self.prompted, decoded.tokens, decoded.earlier, batch=self.batch,
            embeddings=self.painter.embeddings,
        )  # fmt: skip

    def pictures(
        self, tokens: NDArray[np.int64], on_picture: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.uint8]:
        """Pixels uint8 [B, height, width, 3] of ids; ``on_picture`` is called with the number that are done.

        Raises:
            DocumentError: the decoder's files are missing or of another model.
        """
        return self.painter.pixels(self.folder, tokens, self.prompted.texts, self.options, self.seed, on_picture)

    def require_decoder(self) -> None:
        """Raise ``DocumentError`` where pixels could not be made, before tokens are."""
        self.painter.require_decoder(self.folder)


def passes_of(plans: Sequence[Plan]) -> int:
    """Passes of the plans of all grids, one after the other on one cache."""
    return _chain(plans).cost().passes if len(plans) > 1 else plans[0].steps


def _chain(plans: Sequence[Plan]) -> Any:
    from diagplan.planner.chain_compiler import chain_of

    return chain_of(plans)


def _scale(guidance: float | None, painter: Painter) -> float | None:
    """The scale of guidance; ``None``: there is none."""
    if guidance is None:
        return painter.guidance
    scale = require_number("guidance", guidance, "Give a scale, such as 5; 1 is no guidance.", finite=True)
    if scale != 1 and not painter.guided:
        raise SpecError(
            f"expected no guidance for {painter.title}, which is decoded without, got guidance={scale:g}. Leave it out."
        )
    return None if scale == 1 else scale
