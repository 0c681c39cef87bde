"""What commands that replay plans share: speculation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from diagplan.cli.shared.models import option
from diagplan.planner.errors import SpecError
from diagplan.planner.speculation import DraftName, Speculation

if TYPE_CHECKING:
    from diagplan.backends.measured import SpeculationChoice

__all__ = ["EXACT", "DraftOption", "ExactOption", "SpeculateOption", "TraceOption", "speculation_from_options"]

EXACT = "Exact and faster"

ExactOption = Annotated[
    bool,
    option(
        EXACT,
        "The plan's very tokens in fewer passes: several steps a pass, with guesses; the window is measured.",
        "--exact",
    ),
]
SpeculateOption = Annotated[
    int | None, option(EXACT, "Instead of --exact: feed so many tokens a pass.", metavar="WINDOW", min=1)
]
TraceOption = Annotated[
    Path | None,
    option(EXACT, "Write what every pass fed, guessed and accepted: .json, .json.gz, .json.zst; for verify-trace."),
]
DraftOption = Annotated[
    DraftName | None, option(EXACT, "With --speculate: where first guesses come from; left out, previous-frame.")
]


def speculation_from_options(
    *, exact: bool, speculate: int | None, draft: DraftName | None
) -> "SpeculationChoice | None":
    """What the options ask for; ``None``: replay step by step.

    Raises:
        SpecError: options that exclude each other.
    """
    if exact and speculate is not None:
        raise SpecError("expected --exact or --speculate, got both. --exact measures the window itself.")
    if draft is not None and speculate is None:
        raise SpecError(f"expected --speculate with --draft, got --draft {draft} alone. Give the window.")
    if exact:
        return "auto"
    return None if speculate is None else Speculation(window=speculate, draft=draft or "previous-frame")
