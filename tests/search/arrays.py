"""Damaged arrays and orders, for the readers of ``compile --order`` and of a replay's ids."""

import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from diagplan import Layout, compile_plan, read_order, verify
from diagplan.backends.given import given_from_prompt
from diagplan.cli.run import read_ids
from diagplan.planner.errors import DiagplanError
from tests.search.damage import hurt_json, npy
from tests.search.guard import Different

__all__ = ["ids", "order_json", "order_npy"]

_LAYOUT = Layout(frames=2, rows=2, cols=3, lead=1)
_ORDER = np.array([[[0, 1, 2], [2, 3, 4]], [[3, 4, 5], [5, 6, 7]]])
_PROMPTED = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=2)
_KINDS = ("<i8", "<i4", ">i2", "|u1", "<u8")


def _held(path: Path) -> Any:
    """The array as NumPy itself reads it; ``None`` where it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.load(path, allow_pickle=False)
    except Exception:  # noqa: BLE001 - whatever it raises
        return None


def _require_order(path: Path, expected: Any) -> tuple[int, int]:
    """The order that was read is what the file says, and compiles to a valid plan of these steps."""
    order = read_order(path)
    if expected is not None and not (
        np.shape(expected) in (order.steps.shape, order.steps.shape[1:])
        and np.array_equal(order.steps.ravel(), np.ravel(expected))
    ):
        raise Different(f"read {order.steps.tolist()} of {expected!r:.300}")
    try:
        plan = compile_plan(_LAYOUT, order)
    except DiagplanError:  # of another layout
        return 0, 1
    report = verify(plan)
    if not report.ok:
        raise Different(f"compiled an invalid plan: {report.diagnostics[0].message}")
    if len(plan.feed_steps()[plan.target >= 0]) != _ORDER.size:
        raise Different("compiled a plan of other cells")
    return 1, 1


def order_npy(rng: Random, folder: Path) -> tuple[int, int]:
    """An order as .npy."""
    path = folder / "order.npy"
    path.write_bytes(npy(rng, _ORDER.astype(rng.choice(_KINDS))))
    return _require_order(path, _held(path))


def order_json(rng: Random, folder: Path) -> tuple[int, int]:
    """An order as nested lists."""
    path = folder / "order.json"
    path.write_bytes(hurt_json(rng, _ORDER.tolist()))
    try:
        expected = np.array(json.loads(path.read_bytes()))
    except (ValueError, RecursionError):
        expected = None
    return _require_order(path, expected)


def ids(rng: Random, folder: Path) -> tuple[int, int]:
    """Prompt tokens and actions as .npy."""
    prompt, actions = np.arange(6).reshape(1, 2, 3), np.arange(6, 10).reshape(2, 2)
    whole = rng.choice((None, "prompt", "actions"))
    for name, array in (("prompt", prompt), ("actions", actions)):
        if name == whole:
            np.save(folder / f"{name}.npy", array)
        else:
            (folder / f"{name}.npy").write_bytes(npy(rng, array.astype(rng.choice(_KINDS))))
    read = [read_ids(folder / f"{name}.npy") for name in ("prompt", "actions")]
    for name, found in zip(("prompt", "actions"), read, strict=True):
        expected = _held(folder / f"{name}.npy")
        if expected is not None and not np.array_equal(found, expected):
            raise Different(f"read other {name}")
    given = given_from_prompt(_PROMPTED, *read)
    # Ids beyond int64 are below 0 here, which no vocabulary has.
    first = np.concatenate([np.ravel(one).astype(np.int64) for one in read])
    if len(given) == 1 and not np.array_equal(given[0], first):
        raise Different(f"placed {given.tolist()} of {first.tolist()}")
    return 1, 1
