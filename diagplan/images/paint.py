"""From prompts to pictures in one call."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Sampler
from diagplan.backends.arguments import require_callbacks, require_sampler
from diagplan.backends.measured import SpeculationChoice
from diagplan.images.defaults import Choice, asked_for
from diagplan.images.job import ImageJob, Scheduled
from diagplan.images.prompts import Request, parse_ratio, parse_size
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.backends.memory import Memory
    from diagplan.backends.promise import Promise
    from diagplan.planner.speculation import Speculation

__all__ = ["PIXELS", "DrawnImages", "draw_image", "request_of"]

#: What ``on_progress`` is told while pixels are made, whose number is of pictures; all other numbers are of passes.
PIXELS = "making pixels"
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImages:
    """What came out.

    Attributes:
        family: name of the model's family.
        texts: the prompt of each picture.
        tokens: ids of the pictures, int64 [B, h, w], as the model chooses them.
        earlier: those of grids before the picture's, such as GLM-Image's preview.
        pictures: uint8 [B, height, width, 3]; ``None`` where tokens alone were asked for.
        plans: of each grid.
        passes: of a batch of pictures, all grids; of several batches the most.
        seconds: of all passes, without loading and without making pixels.
        pixel_seconds: of making pixels, the loading of the decoder included.
        choice: how ids were chosen, and who says so.
        guidance: the scale; ``None``: there was none.
        memory: the estimate before loading; ``None``: nothing told.
        speculation: how they were decoded, as asked for or as measured; ``None``: step by step.
        promise: of a speculative replay, what a probe says of the tokens' bits.
    """

    family: str
    texts: tuple[str, ...]
    tokens: NDArray[np.int64]
    earlier: tuple[NDArray[np.int64], ...]
    pictures: NDArray[np.uint8] | None
    plans: tuple[Plan, ...]
    passes: int
    seconds: float
    pixel_seconds: float
    choice: Choice
    guidance: float | None
    memory: "Memory | None"
    speculation: "Speculation | None" = None
    promise: "Promise | None" = None


def request_of(
    prompts: str | Sequence[str],
    *,
    negative: str | None = None,
    size: Any = None,
    ratio: Any = None,
    suffix: str | None = None,
    features: Sequence[str | Path] = (),
) -> Request:
    """What is asked for, of a caller's arguments; as for ``draw_image``.

    Raises:
        SpecError: a value of another kind.
    """
    return Request(
        texts=(prompts,) if isinstance(prompts, str) else tuple(prompts),
        negative=negative,
        size=None if size is None else parse_size(size),
        ratio=None if ratio is None else parse_ratio(ratio),
        suffix=suffix,
        features=tuple(Path(path) for path in features),
    )


def draw_image(
    model: str | Path,
    prompts: str | Sequence[str],
    *,
    schedule: Scheduled | None = None,
    policies: Policies | None = None,
    speculation: SpeculationChoice | None = None,
    guidance: float | None = None,
    negative: str | None = None,
    size: Any = None,
    ratio: Any = None,
    suffix: str | None = None,
    num: int = 1,
    seed: int = 0,
    sampler: Sampler | None = None,
    sampling: Mapping[str, Any] | None = None,
    options: LoadOptions | None = None,
    weights: str | Path | None = None,
    vq: str | Path | None = None,
    features: Sequence[str | Path] = (),
    loaded: "Model | None" = None,
    batch: int | None = None,
    chunk: int = 512,
    pixels: bool = True,
    on_progress: OnProgress | None = None,
    on_memory: Callable[["Memory"], None] | None = None,
    on_job: Callable[[ImageJob, tuple[Plan, ...]], None] | None = None,
) -> DrawnImages:
    """Draw pictures of texts: prompts as the model's release writes them, its tokens by a plan, its own decoder.

    Args:
        model: the model's folder, as it was fetched from a hub: Janus-Pro, Emu3, GLM-Image's pipeline, Chameleon or
            Anole, or a Llama with a raster.json.
        prompts: a text, or several; those of one call are drawn in one batch, whatever their lengths.
        schedule: of every grid, or a function of its layout; ``None``: next-token prediction.
        policies: of proxies and their cache slots; the defaults if left out.
        speculation: as for ``replay``: the plan's own tokens in fewer passes (docs/exact.md); not of GLM-Image.
        guidance: the scale of classifier-free guidance; ``None``: the release's own; 1: none.
        negative: what guidance leads away from, where the family has such a prompt.
        size: width and height in pixels, ``"1024x768"`` or two numbers, by the family's own rules.
        ratio: instead, width : height, ``"16:9"`` or two numbers.
        suffix: appended to each prompt; ``None``: as the release does (Emu3). ``""``: nothing.
        num: pictures of each prompt.
        seed: of the noise; a picture is keyed by (seed, its number).
        sampler: how ids are chosen; ``None``: as generation_config.json says, else as the release does.
        sampling: instead, single values in its place: ``greedy``, ``temperature``, ``top_k``, ``top_p``, ``min_p``.
        options: dtype, device, backend, threads of the token model.
        weights: of the token model where they lie elsewhere, such as what ``diagplan export-onnx`` wrote.
        vq: a file of the image decoder, for families whose folder has none (Chameleon's ``vqgan.ckpt``).
        loaded: the token model, where it is loaded already: from ``load_model`` or ``wrap``.
        batch: pictures that are decoded at once; ``None``: all.
        chunk: feeds of the widest pass.
        pixels: make pictures of the tokens.
        features: a file for each prompt, of what LlamaGen's text encoder (flan-t5-xl) made of it: .npy or .safetensors.
        on_progress: called with what is being done, how much of it is done, and of how much (0: not known).
        on_memory: called with the estimate of memory before anything is loaded.
        on_job: called with the job and its plans before anything is loaded.

    Raises:
        SpecError: an argument that the family does not take.
        DocumentError: files that are missing or cannot be read; the message names them.
        MismatchError: a prompt longer than the model's context.
        CapacityError: too little memory.
        NumericError: logits that are not finite.
        MissingExtraError: a library is not installed.

    >>> draw_image("Janus-Pro-1B", "a red bicycle", schedule=Diagonal(k=2)).pictures.shape  # doctest: +SKIP
    (1, 384, 384, 3)
    """
    require_callbacks(on_progress=on_progress, on_memory=on_memory, on_job=on_job)
    require_sampler(sampler)

    def choice(own: Choice) -> Choice:
        return Choice(sampler, "as asked") if sampler is not None else asked_for(own, sampling or {})

    def told(what: str, done: int = 0, of: int = 0) -> None:
        if on_progress is not None:
            on_progress(what, done, of)

    job = ImageJob(
        model,
        request_of(prompts, negative=negative, size=size, ratio=ratio, suffix=suffix, features=features), num=num,
        guidance=guidance, choice=choice, options=options, weights=None if weights is None else Path(weights),
        vq=None if vq is None else Path(vq), loaded=loaded, batch=batch, chunk=chunk, seed=seed,
    )  # fmt: skip
    job.require_speculation(speculation)
    if pixels:
        job.require_decoder()
    told("compiling")
    plans = job.compile(schedule, policies)
    if on_job is not None:
        on_job(job, plans)
    memory = job.require_memory(plans, on_memory, speculation)
    told("loading")
    job.load()
    decoded = job.decode(plans, lambda done, of: told("decoding", done, of), speculation)
    promise = job.promise(plans, decoded)
    job.let_go()
    began = time.perf_counter()
    pictures = None
    if pixels:
        told(PIXELS)
        pictures = job.pictures(decoded.tokens, lambda done: told(PIXELS, done, job.pictures_asked))
    return DrawnImages(
        family=job.painter.name, texts=job.prompted.texts, tokens=decoded.tokens, earlier=decoded.earlier,
        pictures=pictures, plans=plans, passes=decoded.passes, seconds=decoded.seconds,
        pixel_seconds=time.perf_counter() - began if pixels else 0.0, choice=job.choice,
        guidance=job.scale, memory=memory, speculation=decoded.speculation, promise=promise,
    )  # fmt: skip
