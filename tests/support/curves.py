"""Cost curves made by hand, and a clock that a model moves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagplan.planner.cost import CostCurve
from diagplan.schemas.curve import CurveDocument, CurveModel, CurvePoint

__all__ = ["FakeClock", "Slowed", "curve", "document", "judged_row", "seconds_of_pass", "write_study"]


def seconds_of_pass(width: int, length: int, *, launch: float = 1e-3, feed: float = 1e-4, slot: float = 1e-6) -> float:
    """A pass that takes time to launch, for each feed, and for each cache slot."""
    return launch + feed * width + slot * length


_WIDTHS = (1, 8, 32, 64, 128, 512)


def _points(seconds: Callable[[int, int], float], widths: tuple[int, ...] = _WIDTHS) -> list[tuple[int, int, float]]:
    return [(w, n, seconds(w, n)) for n in (64, 512, 1024) for w in widths if w <= n]


def curve(
    seconds: Callable[[int, int], float] = seconds_of_pass, widths: tuple[int, ...] = _WIDTHS, **changes: Any
) -> CostCurve:
    """A curve by a rule."""
    width, length, times = zip(*_points(seconds, widths), strict=True)
    return CostCurve(**{"width": width, "length": length, "seconds": times} | changes)


def document(seconds: Callable[[int, int], float] = seconds_of_pass, **changes: Any) -> CurveDocument:
    """The same as a document, of crafter-mini's sizes."""
    held: dict[str, Any] = {
        "producer": "diagplan test", "kind": "measured", "date": "2026-11-27", "machine": "by hand", "versions": {},
        "backend": "torch", "device": "cpu", "dtype": "float32", "threads": 1, "length_step": 64,
        "model": CurveModel(name="crafter-mini", family="mc-ar", fingerprint="ab12", positions=1024),
        "points": tuple(CurvePoint(width=w, length=n, seconds=s, passes=9) for w, n, s in _points(seconds)),
    }  # fmt: skip
    return CurveDocument(**held | changes)


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slowed:
    """A model each of whose passes moves a clock by a rule's seconds; all else is the model's own.

    Args:
        model: that computes.
        clock: that is moved.
        seconds: of (feeds, cache slots, feeds that choose).
    """

    def __init__(self, model: Any, clock: FakeClock, seconds: Callable[[int, int, int], float]) -> None:
        self._model, self._clock, self._seconds = model, clock, seconds
        self.passes: list[tuple[int, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None, *lead: Any) -> Any:
        """The model's, which takes as long as the rule says."""
        shape = mask.shape[0], mask.shape[1], mask.shape[0] if rows is None else len(rows)
        self.passes.append(shape)
        self._clock.now += self._seconds(*shape)
        return self._model.forward(ids, position, slot, mask, cache, rows, *lead)


def write_study(folder: Path, rows: Any, **settings: Any) -> Path:
    """What a study leaves that says what plans cost in quality."""
    held = {"format": "diagplan-study", "version": 1, "model": "crafter-mini", "weights": "00", "frames": 7} | settings
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"clips": 64, "rows": rows}))
    (folder / "study.json").write_text(json.dumps(held))
    return folder


def judged_row(name: str, mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """One condition of a study."""
    return {"id": name, "figures": {"loss_more": {"mean": mean, "low": low, "high": high}}}
