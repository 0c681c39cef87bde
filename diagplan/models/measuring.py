"""A cost curve of a model, as a document: measured on a loaded one, or estimated from sizes and a device's figures."""

import hashlib
import math
import platform
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from diagplan.adapters.contract import Config, Model
from diagplan.adapters.families import family_named
from diagplan.adapters.options import LoadOptions
from diagplan.backends.measure import Measured, measure_passes
from diagplan.backends.runtime import STATIC_STEP
from diagplan.backends.table import backend_named
from diagplan.backends.threads import threads_in_use
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.roofline import Device, PassWork, roofline_curve
from diagplan.planner.shown import shown
from diagplan.schemas.curve import CurveDocument, CurveGrid, CurveModel, CurvePoint
from diagplan.schemas.files import producer_version

__all__ = ["STATED", "config_for", "estimate_curve", "files_digest", "machine_name", "measure_curve", "work_of"]

#: Libraries whose versions a curve states.
STATED = ("diagplan", "numpy", "torch", "onnxruntime")
_WEIGHTS = (".safetensors", ".pt", ".ckpt", ".bin", ".onnx", ".data")
_ITEM = {"float32": 4, "bfloat16": 2, "float16": 2}


def measure_curve(
    model: Model,
    *,
    name: str,
    options: LoadOptions | None = None,
    files: str | Path | None = None,
    batch: int = 1,
    seconds: float = 40.0,
    on_progress: Callable[[float], None] | None = None,
    **settings: Any,
) -> tuple[CurveDocument, Measured]:
    """Time passes of a loaded model, and put down what they hold for.

    Args:
        model: from ``load_model``, or ``load_world(...).model``.
        name: of the model, for people.
        options: with which it was loaded; torch on a CPU by default.
        files: that it was loaded from, of which the document states a digest.
        batch: rows of the model's batch.
        seconds: to spend on timing, about.
        on_progress: called with the share of that time that is spent.
        settings: as for ``diagplan.backends.measure.measure_passes``.

    Returns:
        the document, and how sure the times are.

    Raises:
        DiagplanError: as ``measure_passes``; a file that cannot be read.
    """
    asked = options or LoadOptions()
    measured = measure_passes(model, batch=batch, seconds=seconds, on_progress=on_progress, **settings)
    grid = model.grid
    points = tuple(
        CurvePoint(
            width=point.width, length=point.length, passes=point.passes, spread=point.spread,
            seconds=point.seconds + measured.target_seconds * (point.width - point.targets),
        )
        for point in measured.points
    )  # fmt: skip
    document = CurveDocument(
        producer=f"diagplan {producer_version()}",
        kind="measured",
        date=date.today().isoformat(),
        machine=machine_name(str(model.device)),
        versions=_versions(),
        backend=asked.backend,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        quantize=asked.quantize,
        threads=_threads(model),
        batch=batch,
        length_step=measured.length_step,
        static_widths=measured.static_widths,
        chunk=measured.chunk,
        model=CurveModel(
            name=name, family=model.family, fingerprint=model.fingerprint(),
            files=None if files is None else files_digest(files), positions=model.positions,
            grid=None if grid is None else CurveGrid(**grid._asdict()),
        ),
        points=points,
        target_seconds=measured.target_seconds,
        shape_seconds=measured.shape_seconds,
    )  # fmt: skip
    return document, measured


def _threads(model: Model) -> int | None:
    return threads_in_use(model) if str(model.device).startswith("cpu") else None


def config_for(adapter: str, weights: str | Path | None, options: LoadOptions) -> Config:
    """A model's sizes: from the headers of its weights, or of a released configuration by name.

    Raises:
        SpecError: neither is given, or a family that cannot tell.
        DiagplanError: as ``load_model``, for what headers show.
    """
    family = family_named(adapter)
    if weights is not None:
        if backend_named(options.backend).exported or family.open is None:
            raise SpecError(
                f"expected weights whose headers tell the sizes of a {family.name} model, got others. Give the "
                "checkpoint, not an export."
            )
        return family.open(weights, options).config
    if family.config_named is None or options.config not in family.configs:
        raise SpecError(
            f"expected weights, or a config out of {', '.join(family.configs) or 'none'}, got config="
            f"{shown(options.config)}. An estimate needs the model's sizes."
        )
    return family.config_named(str(options.config))


def work_of(config: Config, *, item: int, quantize: Any = None) -> PassWork:
    """What a pass of a model of these sizes reads and computes: every weight but the table of embeddings.

    Args:
        config: the sizes.
        item: bytes of a number.
        quantize: as for ``LoadOptions``.
    """
    shapes, widths = config.shapes(), config.widths
    tables = [shape for name, shape in shapes.items() if _is_table(name) and len(shape) == 2]
    looked_up = sum(map(math.prod, tables)) if len(tables) < len(shapes) else 0
    multiplied = sum(map(math.prod, shapes.values())) - looked_up
    pairs = sum(heads * width for heads, width in config.cache_shapes)
    if widths is not None:
        pairs = len(config.cache_shapes) * widths.heads * widths.head
    return PassWork(
        weight_bytes=max(1, config.weight_bytes(item, quantize) - looked_up * item),
        slot_bytes=item * sum(heads * width for heads, width in config.cache_shapes),
        feed_flops=2 * multiplied,
        pair_flops=2 * pairs,
    )


def _is_table(name: str) -> bool:
    return any(part in name for part in ("embed", "wte", "wpe"))


def estimate_curve(
    config: Config, device: Device, *, name: str, adapter: str, positions: int, options: LoadOptions, batch: int = 1
) -> CurveDocument:
    """The curve that no machine with a device's peak figures can beat; nothing is loaded or run.

    Args:
        config: the model's sizes, of ``config_for``.
        device: from ``diagplan.planner.roofline.device_named``.
        name: of the model, for people.
        adapter: its family.
        positions: the longest sequence that is asked for.
        options: dtype and int8 as it would be loaded.
        batch: rows of the model's batch.

    Raises:
        SpecError: a number below 1.
    """
    positions = require_int("positions", positions, 1)
    work = work_of(config, item=_ITEM[options.dtype], quantize=options.quantize)
    curve = roofline_curve(work, device, longest=positions, batch=batch, length_step=STATIC_STEP)
    stated = (
        f"{device.name}: {device.bytes_per_second / 1e12:g} TB/s, {device.flops / 1e12:g} TFLOP/s ({device.source})"
    )
    return CurveDocument(
        producer=f"diagplan {producer_version()}",
        kind="estimate",
        date=date.today().isoformat(),
        machine=stated[:200],
        versions=_versions(("diagplan",)),
        backend=options.backend,
        device=device.name,
        dtype=options.dtype,
        quantize=options.quantize,
        batch=batch,
        length_step=curve.length_step,
        chunk=curve.chunk,
        model=CurveModel(name=name, family=adapter, positions=positions),
        points=tuple(
            CurvePoint(width=width, length=length, seconds=time)
            for width, length, time in zip(
                curve.width.tolist(), curve.length.tolist(), curve.seconds.tolist(), strict=True
            )
        ),
    )  # fmt: skip


def files_digest(files: str | Path) -> str:
    """SHA-256 of a checkpoint: of a file, or of the files of weights in a folder by name; nothing is loaded.

    Raises:
        DocumentError: they cannot be read, or there are none.
    """
    path = Path(files)
    try:
        parts = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.suffix in _WEIGHTS)
        digest = hashlib.sha256()
        for part in parts:
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the name and the permissions.") from None
    if not parts:
        raise DocumentError(f"expected files of weights in {path}, got none. Give the checkpoint's own path.")
    return digest.hexdigest()


def machine_name(device: str = "cpu") -> str:
    """The machine in words: its GPU, or its CPUs."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))[:200]
    names = []
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine() or "unknown")[:200]


def _versions(names: tuple[str, ...] = STATED) -> dict[str, str]:
    held = {"python": platform.python_version()}
    for name in names:
        try:
            held[name] = version(name)
        except PackageNotFoundError:
            continue
    return held
