"""Classifier-free guidance: the rows of a batch are branches of the same samples, whose logits are mixed into one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagplan.adapters.contract import Array, Runtime
from diagplan.backends.errors import MismatchError
from diagplan.planner.arguments import require_kind, require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown

__all__ = ["Guidance", "Guided", "branches_of", "require_guidance"]

#: A scale of classifier-free guidance, or the weight of each branch.
Guidance = float | Sequence[float]


def branches_of(guidance: Guidance | None) -> int:
    """Parts of a batch that are mixed into one: 1 without guidance, 2 for a scale, or one for each weight."""
    if guidance is None:
        return 1
    return 2 if isinstance(guidance, int | float) else len(guidance)


def require_guidance(guidance: Any) -> float | tuple[float, ...]:
    """A scale as a number, or weights as a tuple of them.

    Raises:
        SpecError: something else, or numbers that are not finite.
    """
    remedy = "Give a scale, or none."
    if not isinstance(guidance, tuple | list | np.ndarray):
        return require_number("guidance", guidance, remedy, finite=True)
    if len(guidance) < 2:
        raise SpecError(f"expected the weights of two branches or more for guidance, got {len(guidance)}. {remedy}")
    return tuple(
        require_number("guidance", weight, "Give a number for each branch.", finite=True) for weight in guidance
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """How the rows of a batch become its samples.

    Args:
        batch: B, samples. Rows are the conditional ones, then those of every other branch.
        guidance: as for ``prepare``; ``None``: rows are samples.
        steps: the plan's steps that are guided, first and end; an end of ``None`` is the last. In all others the
            conditional logits stand alone.
    """

    batch: int
    guidance: float | tuple[float, ...] | None = None
    steps: tuple[int, int | None] = (0, None)

    @classmethod
    def of(cls, batch: int, guidance: Any, steps: Any) -> "Guided":
        """The same of a caller's arguments.

        Raises:
            SpecError: no scale and no weights, or no range of steps.
            MismatchError: steps without guidance.
        """
        if guidance is None and steps is not None:
            raise MismatchError(f"expected guidance with guided_steps, got none and {shown(steps)}. Give a scale.")
        guided = None if guidance is None else require_guidance(guidance)
        return cls(batch=batch, guidance=guided, steps=(0, None) if steps is None else _steps(steps))

    @property
    def rows(self) -> int:
        """Rows of the model's batch: the samples, once for each branch."""
        return self.batch * branches_of(self.guidance)

    def logits(self, of_rows: Array, step: int | Array, runtime: Runtime) -> Array:
        """The logits of the samples, [B, m, V], from those of all rows, [rows, m, V].

        Args:
            of_rows: logits.
            step: the plan's step of all m, or of each, int64 [m] or [B, m].
            runtime: of the arrays.
        """
        if self.guidance is None:
            return of_rows
        wide = runtime.float32(of_rows)
        conditional = wide[: self.batch]
        if isinstance(step, int):
            return self._mixed(wide) if self._holds(step) else conditional
        if self.steps == (0, None):
            return self._mixed(wide)
        on = runtime.float32(self._holds(step)[..., None] * 1.0)  # 0 or 1: the sum is one of the two, bit for bit
        return on * self._mixed(wide) + (1 - on) * conditional

    def _holds(self, step: Any) -> Any:
        first, end = self.steps
        return step >= first if end is None else (step >= first) & (step < end)

    def _mixed(self, wide: Array) -> Array:
        conditional, *others = (wide[first : first + self.batch] for first in range(0, self.rows, self.batch))
        if not isinstance(self.guidance, tuple):
            return others[0] + self.guidance * (conditional - others[0])
        mixed = self.guidance[0] * conditional
        for weight, part in zip(self.guidance[1:], others, strict=True):
            mixed = mixed + weight * part
        return mixed


def _steps(steps: Any) -> tuple[int, int | None]:
    require_kind("guided_steps", steps, tuple | list, "Give the first and the end, such as (0, 100).")
    if len(steps) != 2:
        raise SpecError(f"expected two numbers for guided_steps, first and end, got {len(steps)}.")
    first = require_int("guided_steps", steps[0], 0)
    return first, None if steps[1] is None else require_int("guided_steps", steps[1], first)
