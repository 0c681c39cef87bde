"""How long a plan may take, in the words of a person: frames a second, seconds a frame or a clip."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown

__all__ = ["Budget", "parse_budget"]

_TEXT = re.compile(
    r"\s*(?P<number>[+-]?[0-9.eE+-]{1,20})\s*(?P<unit>fps|(?P<time>ms|s|min)\s*/\s*(?P<per>frame|clip))\s*"
)
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most seconds of a frame, on average, or of a clip.

    Args:
        seconds: above 0; infinite: as fast as can be.
        per: of what.

    Raises:
        SpecError: seconds that are not above 0.
    """

    seconds: float
    per: Literal["frame", "clip"] = "clip"

    def __post_init__(self) -> None:
        if not self.seconds > 0:  # NaN too
            raise SpecError(f"expected a budget above 0 s, got seconds={shown(self.seconds)}. Give more time.")

    @property
    def fastest(self) -> bool:
        """Whether there is no limit but what can be reached."""
        return math.isinf(self.seconds)

    def of_clip(self, frames: int) -> float:
        """Seconds of a clip of so many generated frames."""
        return self.seconds * (frames if self.per == "frame" else 1)

    def shown(self, clip_seconds: float, frames: int) -> str:
        """A clip's seconds in the unit of the budget."""
        if self.per == "clip":
            return f"{clip_seconds:.3g} s a clip"
        return f"{1e3 * clip_seconds / require_int('frames', frames, 1):.4g} ms a frame"


def parse_budget(text: str) -> Budget:
    """A budget as it is typed: ``"10 fps"``, ``"120 ms/frame"``, ``"3 s/clip"`` or ``"fastest"``.

    Raises:
        SpecError: something else, or no time at all.

    >>> parse_budget("10 fps"), parse_budget("3 s/clip").of_clip(7)
    (Budget(seconds=0.1, per='frame'), 3.0)
    """
    require_kind("budget", text, str, "Write '10 fps', '120 ms/frame', '3 s/clip' or 'fastest'.", what="a text")
    if text.strip() == "fastest":
        return Budget(seconds=math.inf)
    parts = _TEXT.fullmatch(text)
    try:
        number = math.nan if parts is None else float(parts["number"])
    except ValueError:  # 1.2.3
        number = math.nan
    if parts is None or not math.isfinite(number):
        raise SpecError(
            f"expected a budget such as '10 fps', '120 ms/frame', '3 s/clip' or 'fastest', got budget={shown(text)}."
        )
    if number <= 0:
        raise SpecError(
            f"expected a budget above 0, got budget={shown(text)}. Give more time, or fewer frames a second."
        )
    if parts["unit"] == "fps":
        return Budget(seconds=1 / number, per="frame")
    per: Literal["frame", "clip"] = "frame" if parts["per"] == "frame" else "clip"
    return Budget(seconds=number * _SECONDS[parts["time"]], per=per)
