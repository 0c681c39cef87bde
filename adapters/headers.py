"""What a checkpoint says of its tensors, beside what a model expects: names, shapes and dtypes, no data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from diagplan.planner.errors import DocumentError

__all__ = [
    "AXES",
    "Comparison",
    "Header",
    "Shaped",
    "check_weights",
    "compare_weights",
    "elements",
    "listed",
    "nearest",
]

_FLOATS = ("float32", "bfloat16", "float16", "float64")
#: Axes that a tensor has at most, as for torch.
AXES = 64
#: Names that an error lists of each kind, and characters of each: a file may hold one of megabytes.
LISTED, _CHARACTERS = 8, 200


class Header(NamedTuple):
    """What a checkpoint says of one tensor.

    Attributes:
        shape: sizes of its axes.
        dtype: torch's name of its dtype, ``"float32"``; of what is no dense tensor, a word for it.
    """

    shape: tuple[int, ...]
    dtype: str


class Shaped(Protocol):
    """A configuration, as far as it says which tensors a model has."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The name and shape of every weight."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The tensors of a checkpoint beside those that a model expects.

    Args:
        prefix: what stands before the expected names in the checkpoint.
        names: expected name -> name in the checkpoint, of the tensors that are there.
        missing, unexpected: names as in the checkpoint.
        misshaped: name, its shape, the expected shape.
        not_float: name and dtype of what is neither float32, bfloat16, float16 nor float64.
        ignored: names left out by a pattern.
    """

    prefix: str
    names: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    not_float: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]

    @property
    def problems(self) -> int:
        """How many tensors do not fit; 0: the checkpoint can be loaded."""
        return len(self.missing) + len(self.unexpected) + len(self.misshaped) + len(self.not_float)

    def words(self, limit: int = LISTED) -> str:
        """The problems in one line, at most ``limit`` names of each kind."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": [
                f"{name[: _CHARACTERS // 2]} {list(got)} for {list(want)}" for name, got, want in self.misshaped
            ],
            "not of a float dtype": [f"{name[: _CHARACTERS // 2]} ({dtype})" for name, dtype in self.not_float],
        }
        return "; ".join(f"{len(names)} {kind}: {listed(names, limit)}" for kind, names in kinds.items() if names)


def compare_weights(
    headers: Mapping[str, Header],
    expected: Mapping[str, tuple[int, ...]],
    *,
    prefixes: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    ignored: Sequence[str] = (),
) -> Comparison:
    """Compare a checkpoint's headers with the names and shapes that a model expects.

    Args:
        headers: of the checkpoint.
        expected: name -> shape.
        prefixes: what may stand before every expected name; the first that stands before one of them holds for all.
        aliases: expected name -> expected name that serves for it where it is missing (tied weights).
        ignored: glob patterns of names, as in the checkpoint, that are no part of the model.
    """
    prefix = next((p for p in prefixes if any(p + name in headers for name in expected)), "")
    aliases = aliases or {}
    names: dict[str, str] = {}
    missing = []
    for name in expected:
        places = [prefix + place for place in (name, aliases.get(name, name))]
        place = next((place for place in places if place in headers), None)
        if place is None:
            missing.append(places[0])
        else:
            names[name] = place
    used = set(names.values())
    left = [name for name in headers if name not in used]
    out = dict.fromkeys(name for name in left if any(fnmatchcase(name, pattern) for pattern in ignored))
    return Comparison(
        prefix=prefix,
        names=names,
        missing=tuple(missing),
        unexpected=tuple(name for name in left if name not in out),
        misshaped=tuple(
            (place, headers[place].shape, tuple(expected[name]))
            for name, place in names.items()
            if headers[place].shape != tuple(expected[name])
        ),
        not_float=tuple(
            (place, headers[place].dtype)
            for place in dict.fromkeys(names.values())
            if headers[place].dtype not in _FLOATS
        ),
        ignored=tuple(out),
    )


def check_weights(
    headers: Mapping[str, Header],
    expected: Mapping[str, tuple[int, ...]],
    *,
    source: str | Path,
    prefixes: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    ignored: Sequence[str] = (),
) -> dict[str, str]:
    """Where each expected tensor is: expected name -> name in the checkpoint. Arguments as in ``compare_weights``.

    Raises:
        DocumentError: a tensor is missing, unexpected, mis-shaped or not of a float dtype; all are named at once.
    """
    comparison = compare_weights(headers, expected, prefixes=prefixes, aliases=aliases, ignored=ignored)
    if comparison.problems:
        raise DocumentError(
            f"expected the {len(expected)} tensors of the config, got {source} with {comparison.words()}. Weights and "
            f"config must belong together. `diagplan inspect-weights {source}` shows what the file holds."
        )
    return dict(comparison.names)


def elements(header: Header) -> int:
    """Numbers of a tensor; 0 for what is none."""
    return 0 if header.dtype.endswith("no tensor") else math.prod(header.shape)


def nearest(
    headers: Mapping[str, Header], configs: Mapping[str, "Shaped"], compare: "Callable[[Any], Comparison]"
) -> tuple[str, Comparison]:
    """The configurations nearest to a checkpoint, their names joined by "and", and how its tensors compare.

    Nearest is the fewest problems, then the nearest number of parameters; configurations of the same shapes are one.

    Args:
        headers: of the checkpoint.
        configs: by name.
        compare: the checkpoint with one of them.
    """
    ranked: dict[tuple[int, int], list[str]] = {}
    comparisons = {name: compare(config) for name, config in configs.items()}
    for name, comparison in comparisons.items():
        ignored = set(comparison.ignored)
        held = sum(elements(header) for other, header in headers.items() if other not in ignored)
        expected = sum(math.prod(shape) for shape in configs[name].shapes().values())
        ranked.setdefault((comparison.problems, abs(held - expected)), []).append(name)
    names = ranked[min(ranked)]
    return " and ".join(names), comparisons[names[0]]


def listed(names: Sequence[str], limit: int = LISTED) -> str:
    """The first ``limit`` names, long ones cut short, and how many more there are."""
    more = len(names) - limit
    return ", ".join(name[:_CHARACTERS] for name in names[:limit]) + (f" and {more:,} more" if more > 0 else "")
