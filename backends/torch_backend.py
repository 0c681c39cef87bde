"""The record of eager PyTorch."""

import math
from pathlib import Path
from typing import Any

from diagplan.adapters.contract import LENGTH_STEP, Model
from diagplan.adapters.devices import require_device, require_torch
from diagplan.adapters.families import family_named
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import cut_shapes
from diagplan.backends.memory import Sizes
from diagplan.backends.runtime import STATIC_STEP
from diagplan.backends.table import Backend
from diagplan.backends.threads import settle_threads

__all__ = ["BACKEND"]


def _load(family: str, weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.backends.selftest import require_masks_obeyed

    record = family_named(family)
    require_torch()
    record.require_context(options.context)
    record.require_part(options.ranks)
    model = record.load(weights, options)
    testable = record.testable(model)
    require_masks_obeyed(testable)
    settle_threads(testable, options.threads)
    return model


def _sizes(family: str, weights: str | Path, options: LoadOptions) -> Sizes | None:
    record = family_named(family)
    require_torch()
    import torch

    from diagplan.adapters.linear import is_packed, require_quantize

    device, dtype = require_device(options.device), getattr(torch, options.dtype)
    require_quantize(options.quantize, device, dtype)
    record.require_context(options.context)
    record.require_part(options.ranks)
    if record.open is None:
        return None
    opened = record.open(weights, options)
    config, packed = opened.config, is_packed(device, dtype)
    about: dict[str, Any] = {"packed": packed, "text_tokens": opened.text_tokens}
    shapes, cache_shapes, widths = config.shapes(), config.cache_shapes, config.widths
    if options.ranks is not None and record.part is not None:
        part = record.part(config, options.ranks)
        about["cuts"], shapes = part.cuts, cut_shapes(shapes, part.cuts)
        cache_shapes = part.cache_shapes(cache_shapes)
        widths = None if widths is None else part.widths(widths)
    # A layer's matrices are read, joined and reordered: for a moment there are two or three of the largest.
    largest = max(math.prod(shape) for shape in shapes.values())
    return Sizes(
        weights=config.weight_bytes(dtype.itemsize, options.quantize, **about),
        loading=largest * dtype.itemsize * (4 if options.quantize else 2 if packed else 1),
        item=dtype.itemsize,
        cache_shapes=cache_shapes,
        vocab_size=opened.vocab_size,
        widths=widths,
        length_step=STATIC_STEP if device.type == "cuda" else LENGTH_STEP,
    )


BACKEND = Backend(name="torch", title="eager PyTorch", load=_load, sizes=_sizes, packages=("torch", "safetensors"))
