"""How a service answers: its limits, and who may ask."""

from dataclasses import dataclass

from diagplan.planner.arguments import require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int

__all__ = ["HEADERS", "Settings"]

#: Bytes of a request's line and headers.
HEADERS = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The limits of a service.

    Attributes:
        token: that requests must bear; ``None``: none, on the loopback address only.
        queue: jobs that may wait.
        keep_results: ended jobs that are kept.
        keep_hours: for how long; ``None``: until there are ``keep_results`` younger ones.
        max_body: bytes of a request.
        max_frames: that a job may ask for, or give actions for.
        rate: jobs a second of one address, ten times as many at once; ``None``: any.
        body_seconds: within which a request's body has to arrive.

    Raises:
        SpecError: a number out of range.
    """

    token: str | None = None
    queue: int = 1000
    keep_results: int = 1000
    keep_hours: float | None = None
    max_body: int = 16 << 20
    max_frames: int = 1000
    rate: float | None = None
    body_seconds: float = 60.0

    def __post_init__(self) -> None:
        require_int("queue", self.queue, 1)
        require_int("keep_results", self.keep_results, 1)
        require_int("max_body", self.max_body, 1)
        require_int("max_frames", self.max_frames, 1)
        for name in ("keep_hours", "rate", "body_seconds"):
            value = getattr(self, name)
            if value is not None and not require_number(name, value, "Give a number.") > 0:
                raise SpecError(f"expected {name} > 0, got {name}={value}. Leave it out, or give more.")
