"""Write a model, or a whole world model, for ONNX Runtime."""

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from diagplan.planner.errors import DocumentError, SpecError

if TYPE_CHECKING:
    from diagplan.adapters.contract import ImageTokenizer, Model
    from diagplan.schemas.onnx_model import OnnxModelDocument

__all__ = ["ExportedModel", "export_onnx", "exported_pictures"]

#: Most by which float32 logits of the exported model may differ from the original's, relative to their size.
_TOLERANCE = 1e-3


class ExportedModel(NamedTuple):
    """What was written.

    Attributes:
        document: what the step graph says of itself.
        difference: the largest difference of a logit from the torch model's over one short pass, and the largest logit;
            ``None`` where ONNX Runtime cannot run the dtype on this machine's CPU.
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
) -> ExportedModel:
    """Export a model's step graph, and an image tokenizer beside it, then run the graph once against the model.

    Args:
        model: from ``load_model(..., portable=True)``.
        folder: where model.onnx, and tokenizer/ if there is one, are written; files of an earlier export are replaced.
        tokenizer: from ``load_image_tokenizer``; exported for frames of ``rows`` x ``cols`` tokens.
        rows: of a frame.
        cols: of a frame.
        world_json: copied into the folder.
        quantize: ``"int8"``: products in int8, for float32 models.
        opset: 23 or 24.

    Raises:
        SpecError: a model that cannot be exported so.
        DocumentError: the files cannot be written, or the graph does not give the model's logits.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    from diagplan.adapters.contract import config_of
    from diagplan.backends.onnx_export import export_model, export_tokenizer
    from diagplan.backends.onnx_files import written_whole
    from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model
    from diagplan.backends.onnx_tokenizer import DECODER, ENCODER

    with written_whole(Path(folder)) as made:
        if tokenizer is not None:
            assert rows is not None
            assert cols is not None
            (made / "tokenizer").mkdir()
            halves = [made / "tokenizer" / name for name in (ENCODER, DECODER)]
            export_tokenizer(tokenizer, *halves, rows=rows, cols=cols)
        if world_json is not None:
            shutil.copyfile(world_json, made / "world.json")
        beside = sorted(path for path in made.rglob("*") if path.is_file() and path.suffix != ".data")
        document = export_model(
            model,
            made / GRAPH,
            config={} if config_of(model) is None else asdict(config_of(model)),
            companions={
                path.relative_to(made).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in beside
            },
            quantize=quantize,
            opset=opset,
        )
        difference = None if document.dtype == "bfloat16" else _difference(model, load_onnx_model(made))
        if difference is not None:
            _require_alike(*difference, exact=document.dtype == "float32" and quantize is None)
        files = {str(path.relative_to(made)): path.stat().st_size for path in sorted(made.rglob("*")) if path.is_file()}
    return ExportedModel(document, difference, files)


def _difference(model: "Model", exported: "Model") -> tuple[float, float]:
    """The largest difference of a logit over one causal pass, and the largest logit."""
    from diagplan.backends.runtime import runtime_of

    length = min(16, model.positions)
    ids = np.random.default_rng(0).integers(0, model.vocab_size, (1, length))
    slots = np.arange(length)
    mask = np.tril(np.ones((length, length), dtype=np.bool_))
    logits = []
    for one in (model, exported):
        runtime = runtime_of(one)
        with runtime.inference():
            at = runtime.put(slots)
            out = one.forward(runtime.put(ids), at, at, runtime.put(mask), one.new_cache(1, length), at)
            logits.append(runtime.numpy(runtime.float32(out)))
    return float(np.abs(logits[0] - logits[1]).max()), float(np.abs(logits[0]).max())


def _require_alike(difference: float, size: float, *, exact: bool) -> None:
    if not difference <= (_TOLERANCE * max(1.0, size) if exact else np.finfo(np.float32).max):
        raise DocumentError(
            f"expected the exported graph to give the model's logits, got a difference of {difference:.3g} (largest "
            f"logit {size:.3g}). Nothing was written. Try another version of torch, onnx or onnxruntime."
        )


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
