"""How tokens are to be chosen, as data; ``diagplan.backends.sampling`` chooses them."""

from dataclasses import dataclass
from typing import Literal

from diagplan.planner.arguments import require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown

__all__ = ["COOLEST", "Greedy", "Sample", "Sampler", "plain_sampler", "require_temperature"]

#: The least temperature of a sampler: logits over less would run over, and noise be lost.
COOLEST = 1e-6

_NUMBER = "Give one, such as 0.9."


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """The id with the largest logit; the smallest such id where several are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Sampling from the softmax of logits / temperature, cut by top-k, then top-p, then min-p, as transformers does.

    Args:
        temperature: at least ``COOLEST``.
        top_k: keep ids whose logit is at least the k-th largest (ties are kept); ``None``: all.
        top_p: of what top-k keeps, keep the most probable ids up to this probability; ``None``: all. The models differ
            in the last one:
        crossing: ``"keep"`` (MC-AR, Cosmos): the id that crosses top_p is kept. ``"drop"`` (WHAM): it is not, but the
            most probable one always is.
        min_p: of what is left, keep ids at least this share as probable as the most probable one (Nguyen et al., 2024);
            ``None``: all.

    Raises:
        SpecError: a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    crossing: Literal["keep", "drop"] = "keep"
    min_p: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", require_number("temperature", self.temperature, _NUMBER))
        for name in ("top_p", "min_p"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, require_number(name, getattr(self, name), _NUMBER))
        if not 0 < self.temperature < float("inf"):
            raise SpecError(
                f"expected temperature > 0, got temperature={shown(self.temperature)}. For no noise use greedy."
            )
        if self.temperature < COOLEST:
            raise SpecError(
                f"expected temperature >= {COOLEST:g}, got temperature={shown(self.temperature)}. Logits divided by "
                "less run over. For no noise use greedy."
            )
        if self.top_k is not None:
            object.__setattr__(self, "top_k", require_int("top_k", self.top_k, 1))
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise SpecError(f"expected 0 < {name} <= 1, got {name}={shown(share)}.")
        crossing: object = self.crossing
        if not (isinstance(crossing, str) and crossing in ("keep", "drop")):
            raise SpecError(f"expected crossing to be 'keep' or 'drop', got crossing={shown(crossing)}.")


Sampler = Greedy | Sample


def plain_sampler(temperature: float | None, top_k: int | None, top_p: float | None) -> Sampler:
    """A sampler without a release's own rules: temperature 1 where none is given; at 0 it is greedy.

    Raises:
        SpecError: a value out of range.

    >>> plain_sampler(0.0, None, None)
    Greedy()
    """
    warmth = require_temperature(1.0 if temperature is None else temperature)
    sampler = Sample(temperature=warmth or 1.0, top_k=top_k, top_p=top_p)
    return sampler if warmth else Greedy()


def require_temperature(temperature: float) -> float:
    """A temperature where 0 has a meaning of its own, as families' samplers take it.

    Raises:
        SpecError: none, or one below 0.
    """
    number = require_number("temperature", temperature, _NUMBER)
    if not number >= 0:
        raise SpecError(
            f"expected temperature >= 0, got temperature={shown(temperature)}. 0 is greedy, 1 as the model says."
        )
    return number
