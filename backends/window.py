"""How wide the next pass of a speculative replay is: the window asked for, or narrower while guesses fail.

Nothing but counts decides, never the clock, so that a replay repeats pass by pass. Tokens do not depend on widths.
"""

from dataclasses import dataclass, field

from diagplan.planner.rounding import rounded_up

__all__ = ["GRANULE", "Window", "feeds_of", "widths_of_window"]

#: Passes are padded to multiples of so many feeds, but those of one feed: few shapes, and the same bits from each.
GRANULE = 8
#: A window is this many times the entries that passes accepted of late.
_AHEAD = 3
#: Where passes accept less than this many steps, or twice running one entry, guesses are not worth wider passes.
_WORTH = 1.5
#: Of late: what a pass more counts.
_NEW = 0.5
#: At the narrowest, the share of passes whose guesses were right from which the window grows again; a pass counts so.
_AGAIN, _HIT = 0.5, 0.25
#: What is short of all halves with each attempt that came to nothing, so many times at most: attempts become rare.
_ATTEMPTS = 4


def feeds_of(entries: int) -> int:
    """The feeds of a pass over so many entries: one, or a multiple of ``GRANULE``."""
    return 1 if entries == 1 else rounded_up(entries, GRANULE)


def widths_of_window(window: int, widest_step: int, *, adaptive: bool) -> tuple[int, ...]:
    """The widths that passes may have, in entries, rising; the last is the window, the first of several a step alone.

    Args:
        window: the widest.
        widest_step: entries of the plan's widest step.
        adaptive: whether there are others than the window.

    >>> widths_of_window(36, 1, adaptive=True)
    (1, 8, 16, 32, 36)
    """
    if not adaptive or widest_step >= window:
        return (window,)
    doubled = (GRANULE << i for i in range(window.bit_length()))
    return (widest_step, *(width for width in doubled if widest_step < width < window), window)


@dataclass(slots=True)
class Window:
    """The width of the next pass.

    Args:
        widths: from ``widths_of_window``.
        step: entries of a step of the plan, the mean.
    """

    widths: tuple[int, ...]
    step: float = 1.0
    at: int = field(init=False)
    late: float = field(init=False)
    last: float = field(init=False, default=float("inf"))
    hits: float = field(init=False, default=0.0)
    attempts: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.at = len(self.widths) - 1
        self.late = self.width / 2

    @property
    def width(self) -> int:
        """Entries of the next pass."""
        return self.widths[self.at]

    @property
    def one_step(self) -> bool:
        """Whether a pass is one step of the plan: it guesses nothing, and it is asked whether it might."""
        return self.at == 0 < len(self.widths) - 1

    def tell(self, accepted: int, *, guessed_right: bool) -> None:
        """What a pass came to.

        Args:
            accepted: entries that it accepted.
            guessed_right: whether every token that was accepted is the one guessed for it; looked at where
                ``one_step``.
        """
        if len(self.widths) == 1:
            return
        if self.one_step:
            self.hits += _HIT * (guessed_right - self.hits)
            if self.hits > 1 - (1 - _AGAIN) / 2**self.attempts:
                self.at, self.hits, self.attempts = 1, 0.0, min(self.attempts + 1, _ATTEMPTS)
                self.late = self.widths[1] / 2
            return
        self.late += _NEW * (accepted - self.late)
        twice, self.last = max(accepted, self.last) == 1, accepted
        if twice or self.late < _WORTH * self.step:
            self.at, self.last = 0, float("inf")
            return
        wide_enough = [i for i, width in enumerate(self.widths) if width >= _AHEAD * self.late]
        self.at = max(1, wide_enough[0] if wide_enough else len(self.widths) - 1)
        if self.at > 1:
            self.attempts = 0
