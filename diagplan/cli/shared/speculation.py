"""What commands that replay plans share: speculation."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from diagplan.cli.shared.models import option
from diagplan.planner.errors import SpecError
from diagplan.planner.speculation import DraftName, Speculation

if TYPE_CHECKING:
    from diagplan.backends.measured import SpeculationChoice
    from diagplan.backends.promise import Promise
    from diagplan.backends.teacher_check import TeacherCheck

__all__ = [
    "EXACT",
    "CheckOption",
    "DraftOption",
    "ExactOption",
    "SpeculateOption",
    "SpeculationOption",
    "TraceOption",
    "checked_figures",
    "speculation_figures",
    "speculation_from_options",
]

EXACT = "Exact and faster"
#: Tokens that are told one by one.
_MOST_TOLD = 100

ExactOption = Annotated[
    bool,
    option(
        EXACT,
        "The plan's very tokens in fewer passes: several steps a pass, with guesses; the window is measured.",
        "--exact",
    ),
]
SpeculateOption = Annotated[
    int | None,
    option(
        EXACT, "Instead of --exact: feed so many tokens a pass. Left out: --exact decides.", metavar="WINDOW", min=1
    ),
]
TraceOption = Annotated[
    Path | None,
    option(EXACT, "Write what every pass fed, guessed and accepted: .json, .json.gz, .json.zst; for verify-trace."),
]
DraftOption = Annotated[
    str | None,
    option(
        EXACT,
        f"With --speculate: where first guesses come from, {', '.join(get_args(DraftName))}, or a plan replayed first "
        "such as plan:k=1. Left out: previous-frame.",
        autocompletion=lambda: [*get_args(DraftName), "plan:k=1"],
    ),
]


CheckOption = Annotated[
    bool,
    option(
        EXACT,
        "Derive every token anew in a teacher-forced pass, and say whether they are the model's.",
        "--check-exact",
    ),
]
SpeculationOption = Annotated[
    Path | None,
    option(
        EXACT,
        "Instead of both: a document of window and first guesses, .json. Left out: none.",
        "--speculation",
        metavar="FILE",
    ),
]


def speculation_from_options(
    *, exact: bool, speculate: int | None, draft: str | None, speculation: Path | None = None
) -> "SpeculationChoice | None":
    """What the options ask for; ``None``: replay step by step.

    Raises:
        SpecError: options that exclude each other.
        DocumentError: a document that cannot be read.
    """
    if speculation is not None and (exact or speculate is not None):
        raise SpecError(
            "expected --speculation alone, got it with --exact or --speculate. Leave it out, or give nothing else."
        )
    if exact and speculate is not None:
        raise SpecError("expected --exact or --speculate, got both. --exact measures the window itself.")
    if draft is not None and speculate is None:
        raise SpecError(f"expected --speculate with --draft, got --draft {draft[:60]} alone. Give the window.")
    if speculation is not None:
        from diagplan.schemas.speculation import read_speculation

        return read_speculation(speculation)
    if exact:
        return "auto"
    return None if speculate is None else Speculation(window=speculate, draft=draft or "previous-frame")


def speculation_figures(
    speculation: "Speculation | None", promise: "Promise | None", *, as_json: bool
) -> dict[str, Any]:
    """What a speculative replay adds to a command's figures: window, draft and the probe; nothing of any other."""
    if speculation is None:
        return {}
    from diagplan.backends.speculative import draft_name

    told = {} if promise is None else {"promise": asdict(promise) if as_json else str(promise)}
    return {"window": speculation.window, "draft": draft_name(speculation), **told}


def checked_figures(check: "TeacherCheck | None", *, as_json: bool) -> dict[str, Any]:
    """What ``--check-exact`` adds to a command's figures; nothing where it was not asked for."""
    if check is None:
        return {}
    if not as_json:
        return {"check": str(check)}
    above = [one._asdict() for one in check.above[:_MOST_TOLD]]
    largest = 0.0 if check.largest is None else check.largest.shortfall
    return {
        "check": {
            "ok": check.ok, "eps": check.eps, "tokens": check.tokens, "first": check.first, "largest": largest,
            "above": above,
        }
    }  # fmt: skip
