"""The vocabulary of the theorems: what a theorem is, and the wavefront and the slots as symbols for Z3.

Every number here is an integer without an upper bound. ``z`` is the module ``z3``, handed in so that importing
this file does not load it; its terms are untyped (``Expr``), for the library ships no type stubs.

Letters, as in the formulas: T frames, h rows, w columns, row delay k, frame delay d; k', F, d' as in
``formulas.py``; a target is the cell (f, r, c) in step s, another cell is (f2, r2, c2).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Claim", "Expr", "Slots", "Theorem", "Use", "Wavefront", "before", "larger", "smaller"]

Expr = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An instance of a lemma: the proved statement of that theorem with its letters replaced by terms.

    The runner makes the instance by substitution in the very formula it proved, so nothing else can be smuggled in.
    """

    lemma: str
    where: Mapping[str, Expr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """For all integers: if every formula of ``given`` holds then every formula of ``show`` does.

    ``using`` helps Z3 with products of unknowns, on which it is incomplete.
    """

    given: tuple[Expr, ...]
    show: tuple[Expr, ...]
    using: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Theorem:
    """A statement about every plan, in words and as a claim for Z3.

    Args:
        name: kebab-case, unique.
        words: what is claimed.
        formula: the same in symbols, for people.
        wrong: words of a slightly false variant, which Z3 must refute: evidence that the claim is not vacuous.
        build: makes the claim from the module ``z3``; with ``wrong=True`` the false variant.
    """

    name: str
    words: str
    formula: str
    wrong: str
    build: Callable[[Any, bool], Claim]


def smaller(z: Any, a: Expr, b: Expr) -> Expr:
    """min(a, b)."""
    return z.If(a < b, a, b)


def larger(z: Any, a: Expr, b: Expr) -> Expr:
    """max(a, b)."""
    return z.If(a < b, b, a)


def before(z: Any, a: tuple[Expr, Expr, Expr], b: tuple[Expr, Expr, Expr]) -> Expr:
    """Cell a comes before cell b in raster order."""
    rows = z.Or(a[1] < b[1], z.And(a[1] == b[1], a[2] < b[2]))
    return z.Or(a[0] < b[0], z.And(a[0] == b[0], rows))


class Wavefront:
    """The diagonal schedule: step(f, r, c) = d' f + k' r + c, for any T, h, w, k, d of at least 1.

    Args:
        z: the module ``z3``.
        clamp_d: ``False`` is for false variants: d' is then d itself.
    """

    def __init__(self, z: Any, *, clamp_d: bool = True) -> None:
        self.z = z
        self.T, self.h, self.w, self.k, self.d = z.Ints("T h w k d")
        # Named, not substituted: Z3 reasons about d' f more easily than about (if d < F then d else F) f.
        self.row_delay, self.frame_steps, self.frame_delay = z.Ints("k' F d'")
        self.given = (
            *(letter >= 1 for letter in (self.T, self.h, self.w, self.k, self.d)),
            self.row_delay == smaller(z, self.k, self.w),
            self.frame_steps == (self.h - 1) * self.row_delay + self.w,
            self.frame_delay == (smaller(z, self.d, self.frame_steps) if clamp_d else self.d),
        )

    @property
    def total(self) -> Expr:
        """(T - 1) d' + (h - 1) k' + w."""
        return (self.T - 1) * self.frame_delay + (self.h - 1) * self.row_delay + self.w

    def step(self, f: Expr, r: Expr, c: Expr) -> Expr:
        """The step in which cell (f, r, c) is generated."""
        return self.frame_delay * f + self.row_delay * r + c

    def has(self, f: Expr, r: Expr, c: Expr) -> Expr:
        """(f, r, c) is a generated cell."""
        return self.z.And(f >= 0, f < self.T, r >= 0, r < self.h, c >= 0, c < self.w)

    def ready(self, source: tuple[Expr, Expr, Expr], target: tuple[Expr, Expr, Expr]) -> Expr:
        """``source`` is a generated cell, and its token is known when ``target`` is predicted."""
        return self.z.And(self.has(*source), self.step(*source) < self.step(*target))


class Slots:
    """The slots of the cells in raster order, counted from cell (0, 0, 0); prompt frames lie at f < 0.

    Between two rows lie b_r given tokens, between two frames b_f, both of at least 0; a row starts S_r slots after
    the row above, a frame S_f slots after the frame before.
    """

    def __init__(self, z: Any, wave: Wavefront) -> None:
        self.between_rows, self.between_frames = z.Ints("b_r b_f")
        # Named for the same reason as the delays.
        self.row_stride, self.frame_stride = z.Ints("S_r S_f")
        self.given = (
            self.between_rows >= 0,
            self.between_frames >= 0,
            self.row_stride == wave.w + self.between_rows,
            self.frame_stride == wave.h * self.row_stride - self.between_rows + self.between_frames,
        )

    def slot(self, f: Expr, r: Expr, c: Expr) -> Expr:
        """The slot of cell (f, r, c)."""
        return self.frame_stride * f + self.row_stride * r + c
