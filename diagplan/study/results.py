"""The result of one condition, and the folder that holds them: each is written whole as soon as it is done."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.speculation import Speculation
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.schemas.npz import read_npz

__all__ = ["Result", "StudyFolder", "untimed"]

_DIGITS = 6
_FORMAT, _VERSION = "diagplan-study-condition", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one condition gave. Curves are lists [clips][frames].

    Attributes:
        id: of the condition.
        bound: what the figures are of: weights, judge, clips, ...
        plan: names and facts of the plan.
        seconds: ``single``: of replays of the first clip alone; ``batched``: of all clips, ``batch`` at a time. Or
            ``untimed()``.
        curves: name -> one figure a clip and frame.
        counted, followed: moves of each clip that are judged, and those made; ``None`` where none can be.
        single: figures of all clips together.
        extra: figures of networks that the user gave, with what gave them.
        passes: of each clip replayed alone, where they differ from clip to clip; ``None``: the plan's steps.
    """

    id: str
    bound: Mapping[str, Any]
    plan: Mapping[str, Any]
    seconds: Mapping[str, Any]
    curves: Mapping[str, list[list[float]]]
    counted: list[int] | None
    followed: list[int] | None
    single: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)
    passes: list[int] | None = None

    @property
    def timed(self) -> bool:
        """Whether it has times."""
        return self.seconds != untimed()

    def curve(self, name: str) -> NDArray[np.float64]:
        """One curve, float64 [clips, frames]."""
        return np.array(self.curves[name], np.float64)


def untimed() -> dict[str, Any]:
    """The seconds of a condition that ran while others used the machine too: none."""
    return {"measured": False}


class StudyFolder:
    """The folder of a study.

    Args:
        folder: made if it is not there.
        settings: what decides the clips; a folder of other settings is refused.

    Raises:
        DocumentError: the folder belongs to another study, or cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        make_folder(folder)
        path = folder / "study.json"
        about = json.loads(json.dumps(dict(settings)))
        if path.is_file():
            there = _read(path)
            if not isinstance(there.get("tuned", {}), dict):
                raise DocumentError(
                    f"expected tuned models by label in {path}, got {type(there['tuned']).__name__}. Give another "
                    "folder, or remove the file."
                )
            other = sorted(key for key in {*there, *about} - {"tuned"} if there.get(key) != about.get(key))
            both = about["tuned"].keys() & there.get("tuned", {}).keys()  # more labels may come later
            other += sorted(f"weights of {label}" for label in both if about["tuned"][label] != there["tuned"][label])
            if other:
                raise DocumentError(
                    f"expected the folder of the same study, got {folder} with other {', '.join(other)}. "
                    "Give another folder, or the same options to go on."
                )
            about["tuned"] = there.get("tuned", {}) | about["tuned"]
            if about == there:  # so a worker writes nothing
                return
        write_atomically(path, (json.dumps(about, indent=1) + "\n").encode())

    def path(self, id: str, suffix: str) -> Path:  # noqa: A002
        """The file of a condition."""
        group, _, name = id.partition("/")
        return self.folder / "conditions" / group / f"{name}{suffix}"

    def read(self, id: str, bound: Mapping[str, Any]) -> Result | None:  # noqa: A002
        """The result of a condition that is done.

        Raises:
            DocumentError: a file that is broken, or of other weights or clips.
        """
        path = self.path(id, ".json")
        if not path.is_file():
            return None
        document = _read(path)
        if document.pop("format", None) != _FORMAT or document.pop("version", None) != _VERSION:
            raise DocumentError(f"expected the result of a condition, got {path}. Remove it to run the condition.")
        if not _is_result(document):
            raise DocumentError(f"expected the result of {id}, got {path}. Remove it to run the condition.")
        result = Result(**document)
        other = sorted(key for key in {*result.bound, *bound} if result.bound.get(key) != bound.get(key))
        if other or result.id != id:
            raise DocumentError(
                f"expected results of the same study, got {path} with other {', '.join(other) or 'id'}. "
                "Give another folder, or remove the file."
            )
        return result

    def names(self, pattern: str) -> list[str]:
        """The names of conditions that are done, of any group, sorted."""
        return sorted({path.stem for path in self.folder.glob(f"conditions/*/{pattern}.json")})

    def write(self, result: Result) -> Result:
        """Write a result; what is returned is what ``read`` gives of it, with curves of six digits."""
        path = self.path(result.id, ".json")
        make_folder(path.parent)
        curves = {name: [[_rounded(value) for value in row] for row in rows] for name, rows in result.curves.items()}
        written = replace(result, curves=curves)
        document = {"format": _FORMAT, "version": _VERSION, **asdict(written)}
        write_atomically(path, (json.dumps(document) + "\n").encode())
        return written

    def write_tokens(self, id: str, tokens: NDArray[np.int64]) -> None:  # noqa: A002
        """Write generated tokens, before the result that says they are complete."""
        path = self.path(id, ".npz")
        make_folder(path.parent)
        data = io.BytesIO()
        np.savez_compressed(data, tokens=tokens.astype(np.int32))
        write_atomically(path, data.getvalue())

    def read_tokens(self, id: str) -> NDArray[np.int64]:  # noqa: A002
        """The generated tokens of a condition that is done, int64 [N, T, rows, cols].

        Raises:
            DocumentError: they cannot be read.
        """
        path = self.path(id, ".npz")
        try:
            tokens = read_npz(path, ["tokens"], of="tokens")["tokens"]
            if tokens.dtype.kind != "i" or tokens.ndim != 4:
                raise DocumentError(f"expected tokens [N, T, rows, cols], got {tokens.dtype} {list(tokens.shape)}")
        except DocumentError as error:
            raise DocumentError(
                f"cannot read the tokens {path} ({str(error).rstrip('.')}). Remove them and "
                f"{path.with_suffix('.json').name} to run the condition."
            ) from None
        return tokens.astype(np.int64)


def _is_result(document: Mapping[str, Any]) -> bool:
    """Whether it has the fields of a ``Result``, of their kinds, its curves [clips][frames] of numbers."""
    document = {"extra": {}, "passes": None, **document}
    mappings = ("bound", "plan", "seconds", "curves", "single", "extra")
    if set(document) != {entry.name for entry in fields(Result)} or not all(
        isinstance(document[name], dict) for name in mappings
    ):
        return False
    curves = document["curves"].values()
    counts = (document["counted"], document["followed"], document["passes"])
    sizes = {_sizes(curve) for curve in curves}
    return (
        None not in sizes
        and len(sizes) <= 1
        and all(_is_number(value) for curve in curves for row in curve for value in row)
        and all(one is None or (isinstance(one, list) and all(type(n) is int for n in one)) for one in counts)
        and _is_timed(document)
    )


def _is_timed(document: Mapping[str, Any]) -> bool:
    """Whether seconds are above 0: of a world's clip alone, of all pictures, or of each clip with its passes.

    They may be left out. What else is asked of a study of pictures is known to ``diagplan.study.image_run``.
    """
    seconds, plan, passes = document["seconds"], document["plan"], document["passes"]
    facts = all(_is_above_0(plan.get(name)) for name in ("steps", "tokens"))
    left_out = seconds == untimed()
    if passes is None:
        return facts and (left_out or "all" in seconds or _are_above_0(seconds.get("single")))
    return (
        facts
        and _are_above_0(passes)
        and (left_out or (_are_above_0(seconds.get("clips")) and len(seconds["clips"]) == len(passes)))
        and _is_speculation(plan.get("speculation"))
    )


def _is_speculation(value: Any) -> bool:
    """Whether a speculation can be made of it, with a draft that has a name."""
    try:
        return isinstance(value, dict) and isinstance(Speculation(**value).draft, str)
    except (TypeError, SpecError):
        return False


def _are_above_0(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(_is_above_0(value) for value in values)


def _is_above_0(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value > 0


def _sizes(curve: Any) -> tuple[int, ...] | None:
    """Clips and frames of a curve; ``None`` for what is none."""
    if not isinstance(curve, list) or not all(isinstance(row, list) for row in curve):
        return None
    lengths = {len(row) for row in curve}
    return (len(curve), *lengths) if len(lengths) == 1 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 53)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Give another folder.") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DocumentError(f"expected a JSON object, got {path}. Give another folder, or remove the file.")
    return document
