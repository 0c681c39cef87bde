"""Cost curves as documents: what was timed, of which model, on which machine; read and written whole, and bounded."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diagplan.planner.arguments import require_kind
from diagplan.planner.cost import MAX_POINTS, CostCurve
from diagplan.planner.errors import DiagplanError, DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown
from diagplan.schemas.atomic import require_ending, write_atomically
from diagplan.schemas.files import read_bytes
from diagplan.schemas.limits import require_affordable

__all__ = [
    "CurveDocument",
    "CurveGrid",
    "CurveModel",
    "CurvePoint",
    "curve_from_json",
    "curve_of",
    "read_curve",
    "require_curve_for",
    "write_curve",
]

#: Bytes of a curve document; one of ``MAX_POINTS`` points takes less than a third.
MAX_CURVE_BYTES = 1 << 20

_Count = Annotated[int, Field(ge=1, le=1 << 30)]
_Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Time = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
_Widths = Annotated[tuple[_Count, ...], Field(max_length=64, strict=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CurveGrid(_Part):
    """Rows and columns of a frame and tokens between frames, where a model is made for one grid."""

    rows: _Count
    cols: _Count
    between_frames: Annotated[int, Field(ge=0, le=1 << 24)]


class CurveModel(_Part):
    """The model that a curve is of.

    Attributes:
        name: for people.
        family: of its adapter.
        fingerprint: of its weights, as ``diagplan.adapters.contract.Model.fingerprint`` gives it; ``None``: an estimate
            from sizes alone.
        files: SHA-256 of the files that it was loaded from, for who has them and loads nothing; ``None``: not taken.
        positions: the longest sequence that it takes.
        grid: ``None``: any.
    """

    name: _Text
    family: _Text
    fingerprint: _Text | None = None
    files: _Digest | None = None
    positions: _Count
    grid: CurveGrid | None = None


class CurvePoint(_Part):
    """One point.

    Attributes:
        width, length: feeds, and cache slots that they attend over.
        seconds: the median of the passes that were timed.
        spread: the middle half of the passes lies within so many seconds.
        passes: that were timed; 0 in an estimate.
    """

    width: _Count
    length: _Count
    seconds: _Time
    spread: _Seconds = 0.0
    passes: Annotated[int, Field(ge=0, le=1 << 20)] = 0


class CurveDocument(_Part):
    """A cost curve, and all that it holds for.

    Attributes:
        format, version: of this format.
        producer: what wrote it.
        kind: ``measured``, or ``estimate``: computed from sizes and a device's peak figures.
        date: when, YYYY-MM-DD.
        machine: in words.
        versions: of libraries.
        backend: what ran the model: ``torch``, ``onnx``, ...
        device, dtype, quantize, threads: as it was loaded.
        batch: rows of the model's batch.
        length_step, static_widths, chunk: how the runtime lays passes out, as in ``diagplan.planner.cost.CostCurve``.
        model: that was timed.
        points: the measurements as they are; what is fitted to them is computed when they are used.
        target_seconds, shape_seconds: as in ``CostCurve``.
    """

    format: Literal["diagplan-curve"] = "diagplan-curve"
    version: Literal[1] = 1
    producer: _Text
    kind: Literal["measured", "estimate"]
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    machine: _Text
    versions: Annotated[dict[_Text, _Text], Field(max_length=32)]
    backend: _Text
    device: _Text
    dtype: _Text
    quantize: _Text | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    batch: Annotated[int, Field(ge=1, le=1 << 16)] = 1
    length_step: _Count
    static_widths: _Widths = ()
    chunk: _Count = 512
    model: CurveModel
    points: Annotated[tuple[CurvePoint, ...], Field(min_length=1, max_length=MAX_POINTS, strict=False)]
    target_seconds: _Seconds = 0.0
    shape_seconds: _Seconds = 0.0

    @model_validator(mode="after")
    def _is_curve(self) -> "CurveDocument":
        try:
            curve_of(self)
        except DiagplanError as error:
            raise ValueError(str(error)) from None
        return self


def curve_of(document: CurveDocument) -> CostCurve:
    """The curve of a document, fitted."""
    points = document.points
    return CostCurve(
        width=[point.width for point in points],
        length=[point.length for point in points],
        seconds=[point.seconds for point in points],
        batch=document.batch,
        target_seconds=document.target_seconds,
        shape_seconds=document.shape_seconds,
        length_step=document.length_step,
        static_widths=document.static_widths,
        chunk=document.chunk,
        estimate=document.kind == "estimate",
    )


def curve_from_json(text: str | bytes, *, name: str = "curve") -> CurveDocument:
    """Parse and check a curve document.

    Raises:
        DocumentError: not JSON, too large, not a curve document of version 1, or times that are no times.
    """
    if len(text) > MAX_CURVE_BYTES:
        raise DocumentError(
            f"expected a curve of at most {MAX_CURVE_BYTES} bytes in {name}, got {len(text)}. Measure fewer points."
        )
    require_affordable(text, name)
    try:
        return CurveDocument.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(_key(part) for part in first["loc"]) or "the top"
        message = " ".join(str(first["msg"]).split())[:400].removeprefix("Value error, ").rstrip(".")
        raise DocumentError(
            f"expected a cost curve of `diagplan measure` in {name}, got one with {where}: {message}. Measure it again."
        ) from None


def _key(key: int | str) -> str:
    text = str(key)
    return text if len(text) <= 60 and text.isprintable() else shown(text)


def read_curve(path: str | Path) -> CurveDocument:
    """Read a curve document.

    Raises:
        DocumentError: the file cannot be read, is too large, or is no curve document.
        SpecError: ``path`` is not a path.
    """
    require_kind("path", path, str | os.PathLike, "Give the name of a curve's file.", what="a path")
    path = Path(path)
    return curve_from_json(read_bytes(path, MAX_CURVE_BYTES), name=path.name)


def write_curve(document: CurveDocument, path: str | Path) -> None:
    """Write a curve document, whole or not at all.

    Raises:
        DocumentError: the file cannot be written.
        SpecError: another ending than .json.
    """
    require_ending("the curve", path, (".json", ""))
    head = document.model_dump(mode="json", exclude={"points"})
    lines = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    points = ",\n  ".join(json.dumps(point.model_dump(mode="json")) for point in document.points)
    write_atomically(path, ("{\n" + ",\n".join(lines) + ',\n "points": [\n  ' + points + "\n ]\n}\n").encode())


def require_curve_for(
    document: CurveDocument,
    *,
    layout: Layout | None = None,
    fingerprint: str | None = None,
    files: str | None = None,
    **held: str | int | None,
) -> None:
    """Refuse a curve that does not hold for a model, a device, a dtype, ... that are meant; one error names them all.

    Args:
        document: the curve.
        layout: of the plans: within the model's positions, and on its grid.
        fingerprint: of the model.
        files: SHA-256 of its files.
        held: ``backend``, ``device``, ``dtype``, ``quantize``, ``threads``, ``batch``; ``None``: as the curve has it.

    Raises:
        DocumentError: it is of something else.
    """
    wrong = []
    for name, wanted, got in (
        ("the model", fingerprint, document.model.fingerprint),
        ("the model's files", files, document.model.files),
    ):
        if wanted is not None and got is not None and wanted != got:
            wrong.append(f"{name} {got[:12]} where {wanted[:12]} is meant")
    for name, value in held.items():
        if value is not None and getattr(document, name) != value:
            wrong.append(f"{name} {getattr(document, name)} where {value} is meant")
    if layout is not None:
        wrong += _of_layout(document.model, layout)
    if wrong:
        raise DocumentError(
            f"expected a cost curve of the same model, device and dtype, got one of {document.model.name} with "
            f"{'; '.join(wrong)}. Measure one: diagplan measure."
        )


def _of_layout(model: CurveModel, layout: Layout) -> Sequence[str]:
    wrong = []
    if layout.positions > model.positions:
        wrong.append(f"{model.positions} positions where {layout.positions} are needed")
    grid, own = model.grid, (layout.rows, layout.cols, layout.between_frames)
    if grid is not None and (grid.rows, grid.cols, grid.between_frames) != own:
        held = f"{grid.rows} x {grid.cols} tokens and {grid.between_frames} between frames"
        wrong.append(f"{held} where {own[0]} x {own[1]} and {own[2]} are needed")
    return wrong
