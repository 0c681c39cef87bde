"""A small plan by walking through it: what the theorems say of all plans is compared with this one at some integers.

Nothing here uses the closed forms of the theorems where a walk can find the same: ``Walk`` starts rows and frames by
their delays, numbers the slots by counting, and finds the newest ready token by looking at all of them.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

from hypothesis import strategies as st

from diagplan.planner.proofs.prover import ProofResult, Variant, prove

__all__ = ["Cell", "Statement", "Walk", "by_name", "letters", "verdicts"]

Cell = tuple[int, int, int]
#: Whether a theorem, or its false variant, holds at these values; values outside its assumptions count as yes.
Statement = Callable[[dict[str, int], bool], bool]


class Walk:
    """A plan of one size: the step and the slot of every cell, by walking through it."""

    def __init__(self, letters: dict[str, int], *, clamp_d: bool = True) -> None:
        self.letters = letters
        # A theorem on slots alone does not mention k and d.
        self.T, self.h, self.w, self.k, self.d = (letters.get(name, 1) for name in "Thwkd")
        self.b_r, self.b_f = letters.get("b_r", 0), letters.get("b_f", 0)
        self.prompt = letters.get("P", 0)
        self.step: dict[Cell, int] = {}
        frame_start = 0
        for f in range(self.T):
            row_start = frame_start
            for r in range(self.h):
                self.step.update({(f, r, c): row_start + c for c in range(self.w)})
                row_start += min(self.k, self.w)
            ended = self.step[f, self.h - 1, self.w - 1] + 1
            frame_start = min(frame_start + self.d, ended) if clamp_d else frame_start + self.d
        self.cells = list(self.step)
        self.slot: dict[Cell, int] = {}
        self.given: list[tuple[int, int, int]] = []  # slot, frame that it stands in front of, index in its block
        at = -self.prompt * (self.h * (self.w + self.b_r) - self.b_r + self.b_f)
        for f in range(-self.prompt, self.T):
            for r in range(self.h):
                for c in range(self.w):
                    self.slot[f, r, c] = at
                    at += 1
                at += self.b_r if r < self.h - 1 else 0
            self.given.extend((at + j, f + 1, j) for j in range(self.b_f))
            at += self.b_f

    @property
    def total(self) -> int:
        return max(self.step.values()) + 1

    @property
    def alone(self) -> int:
        return max(step for (f, _, _), step in self.step.items() if f == 0) + 1

    def cell(self, f: str = "f", r: str = "r", c: str = "c") -> Cell:
        return self.letters[f], self.letters[r], self.letters[c]

    def ready(self, target: Cell) -> list[Cell]:
        """The cells known when ``target`` is predicted, in raster order."""
        return [cell for cell in self.cells if self.step[cell] < self.step[target]]

    def successor(self, cell: Cell) -> Cell | None:
        return next((b for a, b in pairwise(self.cells) if a == cell), None)

    def follows_directly(self, cell: Cell) -> bool:
        following = self.successor(cell)
        return following is not None and self.slot[following] == self.slot[cell] + 1


@st.composite
def letters(draw: st.DrawFn) -> dict[str, int]:
    def one(least: int, most: int) -> int:
        return draw(st.integers(least, most))

    v = {"T": one(1, 4), "h": one(1, 4), "w": one(1, 5), "k": one(1, 6), "d": one(1, 20)}
    v |= {"b_r": one(0, 2), "b_f": one(0, 3), "P": one(0, 2), "s": one(0, 80), "g": one(1, 4), "j": one(0, 2)}
    v |= {"f": one(0, v["T"] - 1), "r": one(0, v["h"] - 1), "c": one(0, v["w"] - 1)}
    v |= {"f2": one(0, v["T"] - 1), "r2": one(0, v["h"] - 1), "c2": one(0, v["w"] - 1)}
    return v


def by_name(*statements: Statement) -> dict[str, Statement]:
    """Statements by the names of their theorems."""
    return {statement.__name__.replace("_", "-"): statement for statement in statements}


def verdicts(names: Iterable[str], variant: Variant = "true") -> dict[str, ProofResult]:
    """What the prover says of these theorems and of the lemmas that they rest on."""
    results = {result.name: result for result in prove(names, variant=variant)}
    lemmas = {lemma for result in results.values() for lemma in result.lemmas} - set(results)
    return results | {result.name: result for result in prove(lemmas, variant=variant)}
