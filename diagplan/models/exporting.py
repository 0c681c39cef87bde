"""Write a model, or a whole world model, for ONNX Runtime."""

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.threads import Threads
from diagplan.planner.errors import DocumentError, SpecError

if TYPE_CHECKING:
    from diagplan.adapters.contract import ImageTokenizer, Model
    from diagplan.schemas.onnx_model import OnnxModelDocument

__all__ = ["ExportedModel", "export_onnx", "exported_pictures"]

#: Most by which the exported model may differ from the original over two short passes: the root of the mean square of
#: the differences, relative to the standard deviation of what is compared. Measured on 40 layers of random weights:
#: 1e-6 in float32, 2e-3 in float16, 5e-2 in int8; a doubled norm or two swapped layers give 0.5 and more.
BOUNDS = {"float64": 1e-4, "float32": 1e-3, "float16": 0.03, "int8": 0.25}


class ExportedModel(NamedTuple):
    """What was written.

    Attributes:
        document: what the step graph says of itself.
        difference: the largest difference of a logit from the torch model's over two short passes, and the largest
            logit, of the ids that may be chosen; ``None`` where ONNX Runtime cannot run the dtype on this CPU.
        files: file -> bytes.
    """

    document: "OnnxModelDocument"
    difference: tuple[float, float] | None
    files: dict[str, int]


def export_onnx(
    model: "Model",
    folder: str | Path,
    *,
    tokenizer: Any = None,
    rows: int | None = None,
    cols: int | None = None,
    world_json: Path | None = None,
    quantize: Literal["int8"] | None = None,
    opset: int = 23,
    threads: Threads = None,
) -> ExportedModel:
    """Export a model's step graph, and an image tokenizer beside it, then compare the graph with the model.

    Args:
        model: from ``load_model(..., portable=True)``.
        folder: where model.onnx, and tokenizer/ if there is one, are written; files of an earlier export are replaced.
        tokenizer: from ``load_image_tokenizer``; exported for frames of ``rows`` x ``cols`` tokens.
        rows: of a frame.
        cols: of a frame.
        world_json: copied into the folder.
        quantize: ``"int8"``: products in int8, for float32 models.
        opset: 23 or 24.
        threads: of ONNX Runtime in the comparison, as for ``load_model``.

    Raises:
        SpecError: a model that cannot be exported so.
        DocumentError: the files cannot be written, or the graph does not give the model's logits and cache.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    from diagplan.adapters.contract import config_of
    from diagplan.backends.onnx_export import export_model, export_tokenizer
    from diagplan.backends.onnx_files import written_whole
    from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model
    from diagplan.backends.onnx_tokenizer import DECODER, ENCODER

    with written_whole(Path(folder)) as temporary:
        if tokenizer is not None:
            assert rows is not None
            assert cols is not None
            (temporary / "tokenizer").mkdir()
            halves = [temporary / "tokenizer" / name for name in (ENCODER, DECODER)]
            export_tokenizer(tokenizer, *halves, rows=rows, cols=cols)
        if world_json is not None:
            shutil.copyfile(world_json, temporary / "world.json")
        beside = sorted(path for path in temporary.rglob("*") if path.is_file() and path.suffix != ".data")
        document = export_model(
            model,
            temporary / GRAPH,
            config={} if config_of(model) is None else asdict(config_of(model)),
            companions={
                path.relative_to(temporary).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in beside
            },
            quantize=quantize,
            opset=opset,
        )
        difference = None
        if document.dtype != "bfloat16":
            bound = BOUNDS[quantize or document.dtype]
            difference = require_alike(model, load_onnx_model(temporary, threads=threads), bound)
        files = {
            str(path.relative_to(temporary)): path.stat().st_size
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
    return ExportedModel(document, difference, files)


def require_alike(model: "Model", exported: "Model", bound: float) -> tuple[float, float]:
    """The largest difference of a logit that may be chosen, and the largest such logit.

    Args:
        model: the original.
        exported: what should give its logits, and leave its cache.
        bound: of ``BOUNDS``.

    Raises:
        DocumentError: logits of the ids that may be chosen, or an array of the cache, differ by more.
    """
    ours, theirs = _two_passes(model), _two_passes(exported)
    off = {name: _relative(theirs[name], value) for name, value in ours.items()}
    worst = max(off, key=lambda name: off[name] if np.isfinite(off[name]) else np.inf)
    if not off[worst] <= bound:
        raise DocumentError(
            f"expected the exported graph to give the model's logits and cache to {bound:g} of their spread, got a "
            f"difference of {off[worst]:.3g} in {worst}. Nothing was written. Try another version of torch, onnx or "
            "onnxruntime."
        )
    logits = [name for name in ours if "logits" in name]
    largest = max(float(np.abs(theirs[name] - ours[name]).max()) for name in logits)
    return largest, max(float(np.abs(ours[name]).max()) for name in logits)


def _two_passes(model: "Model") -> dict[str, NDArray[np.float32]]:
    """Logits of the ids that may be chosen, in two passes, and the cache after them.

    The second pass reads what the first cached. Slots and the order of feeding are none of the positions'.
    """
    from diagplan.adapters.contract import coordinates_of, input_vocab_of
    from diagplan.backends.runtime import runtime_of
    from diagplan.planner.layout import Layout

    runtime, batch, length = runtime_of(model), 2, min(16, model.positions)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, input_vocab_of(model), (batch, length))
    places = coordinates_of(model, Layout(frames=1, rows=4, cols=4, lead=1))
    slots_of = np.linspace(0, model.positions - 1 if places is None else len(places) - 1, length).astype(np.int64)
    position = slots_of if places is None else places[slots_of]
    half = (length + 1) // 2
    slots, order = rng.permutation(length), np.r_[rng.permutation(half), np.arange(half, length)]
    mask = np.zeros((length, length), dtype=np.bool_)
    mask[:, slots] = np.tril(np.ones((length, length), dtype=np.bool_))
    allowed = np.zeros(model.vocab_size, dtype=np.bool_)
    for rule in model.vocabulary:
        allowed[rule.low : rule.high] = True
    cache = model.new_cache(batch, length)
    arrays = {}
    with runtime.inference():
        for name, feeds in (("first", order[:half]), ("second", order[half:])):
            if not len(feeds):  # a model of one position
                continue
            tokens, places = runtime.put(ids[:, feeds]), runtime.put(position[feeds])
            written, seen = runtime.put(slots[feeds]), runtime.put(mask[feeds])
            rows = runtime.put(np.arange(len(feeds)))
            logits = model.forward(tokens, places, written, seen, cache, rows)
            arrays[f"the logits of the {name} pass"] = runtime.numpy(runtime.float32(logits))[..., allowed]
    return arrays | {f"present_{i}": array.astype(np.float32) for i, array in enumerate(cache.read(length))}


def _relative(arrays: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The root of the mean square of the difference, relative to the standard deviation of what is expected."""
    off = np.sqrt(np.mean(np.square(arrays - expected), dtype=np.float64))
    return float(off / max(np.std(expected, dtype=np.float64), np.finfo(np.float32).tiny))


def exported_pictures(model: "Model", tokenizer: Path) -> "tuple[ImageTokenizer, int, int]":
    """The image tokenizer of a model, and the rows and columns of tokens that it is exported for.

    Args:
        model: to be exported with it.
        tokenizer: its files, as the family has them.

    Raises:
        SpecError: a family whose tokenizer cannot be exported, or that has none.
        DocumentError: files that are missing or broken.
    """
    from diagplan.adapters.contract import config_of
    from diagplan.adapters.families import family_named

    pictures, config = family_named(model.family).pictures, config_of(model)
    if pictures is None or pictures.no_export is not None:
        raise SpecError(
            (pictures and pictures.no_export)
            or f"expected no --tokenizer: the family {model.family} has no image tokenizer. Leave it out."
        )
    return pictures.load(tokenizer, config.rows, config.cols, "cpu"), config.rows, config.cols
