"""From command-line options to a layout, a schedule and policies."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from diagplan.cli.shared.models import for_families, option
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import (
    BUNDLES,
    Policies,
    ProxyKV,
    ProxyPolicy,
    RowEnd,
    Visibility,
    bundle_schedule,
)
from diagplan.planner.presets import PRESETS, Preset, preset_layout
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    from diagplan.backends.sampling import Sampler

__all__ = [
    "LAYOUT",
    "POLICIES",
    "SAMPLING",
    "SCHEDULE",
    "Cols",
    "FrameDelayOption",
    "Frames",
    "GreedyOption",
    "LayoutModel",
    "MinPOption",
    "PlanFile",
    "PoliciesOption",
    "ProxyKvOption",
    "ProxyOption",
    "RowDelayOption",
    "RowEndOption",
    "Rows",
    "ScheduleNameOption",
    "ScheduleOption",
    "TemperatureOption",
    "TopKOption",
    "TopPOption",
    "VisibilityOption",
    "ZipArWindowOption",
    "guidance_from_options",
    "guided_steps",
    "layout_from_options",
    "model_layouts",
    "naming_options",
    "numbers_from_option",
    "policies_from_options",
    "sampler_from_options",
    "schedule_from_options",
    "whole_numbers",
]


def _policy(text: str, values: Any) -> Any:
    """An option that replaces one policy of the bundle; what no compiler makes is not offered."""
    names = [name for name in get_args(values) if name not in ("custom", "listed")]
    sentence = f"{text}: {', '.join(names[:-1])} or {names[-1]}. Left out: as the bundle has it."
    return option(POLICIES, sentence, autocompletion=lambda: names)


#: Panels of --help.
LAYOUT, SCHEDULE, POLICIES, SAMPLING = "Layout", "Schedule", "Policies", "Sampling"

PlanFile = Annotated[
    Path, typer.Argument(help="The plan file to read: .json, .json.gz or .json.zst.", show_default=False)
]
LayoutModel = Annotated[
    str | None,
    option(
        LAYOUT,
        "A published model's grid, by its name in `diagplan presets`; or crafter-mini, or a world model's folder. "
        "Left out: --rows and --cols describe the grid.",
        autocompletion=lambda: list(model_layouts()),
    ),
]
Frames = Annotated[int | None, option(LAYOUT, "Frames to generate. Left out: as the model has them, else 1.")]
Rows = Annotated[int | None, option(LAYOUT, "Rows of tokens in a frame. Left out: as the model has them.")]
Cols = Annotated[int | None, option(LAYOUT, "Columns of tokens in a frame. Left out: as the model has them.")]
PoliciesOption = Annotated[
    str,
    typer.Option(
        help=f"The bundle of policies: {', '.join(BUNDLES)}.",
        rich_help_panel=POLICIES,
        autocompletion=lambda: list(BUNDLES),
    ),
]
ProxyOption = Annotated[str | None, _policy("What stands in for a token that is not known yet", ProxyPolicy)]
RowEndOption = Annotated[str | None, _policy("What becomes of a proxy's cache slot when its token is known", RowEnd)]
ProxyKvOption = Annotated[str | None, _policy("Whether later queries see a proxy", ProxyKV)]
VisibilityOption = Annotated[str | None, _policy("Which slots a query sees", Visibility)]
ScheduleNameOption = Annotated[
    Literal["next-token", "diagonal", "zipar", "zipar-llamagen"] | None,
    option(SCHEDULE, "The schedule by its name. Left out: the options below imply it, without them next-token."),
]
RowDelayOption = Annotated[int | None, option(SCHEDULE, "The row delay of diagonal decoding, in steps.")]
FrameDelayOption = Annotated[
    int | None, option(SCHEDULE, "The frame delay, in steps, with --k. Left out: frames come in sequence.")
]
ZipArWindowOption = Annotated[int | None, option(SCHEDULE, "ZipAR's window, in tokens.")]
GreedyOption = Annotated[
    bool, option(SAMPLING, "Take the most probable token (the default without the next four).", "--greedy")
]
TemperatureOption = Annotated[
    float | None, option(SAMPLING, for_families("temperature", "Divides the logits; 0 is greedy."))
]
TopKOption = Annotated[int | None, option(SAMPLING, "Keep the k most probable tokens.")]
TopPOption = Annotated[float | None, option(SAMPLING, "Keep the most probable tokens up to this probability.")]
MinPOption = Annotated[float | None, option(SAMPLING, "Keep tokens this share as probable as the first.")]
ScheduleOption = Literal["next-token", "diagonal", "zipar", "zipar-llamagen", "imported"]


def model_layouts() -> dict[str, Preset]:
    """The models that ``--model`` takes by name: the published ones and the world that ships."""
    from diagplan.schemas.world import read_world_document
    from diagplan.worlds import SHIPPED

    shipped = {
        name: Preset(
            layout=read_world_document(folder / "world.json").layout(),
            models=f"{name}, which ships with diagplan",
            source="its world.json",
        )
        for name, folder in SHIPPED.items()
    }
    return {**PRESETS, **shipped}


def layout_from_options(model: str | None, **sizes: int | None) -> Layout:
    """The layout of a model with the given sizes, or one described by sizes alone.

    Raises:
        SpecError: neither a model nor frames, rows and cols are given, or the layout is not valid.
        DocumentError: a folder's world.json that cannot be read.
    """
    given = {name: value for name, value in sizes.items() if value is not None}
    if model is not None:
        from diagplan.schemas.world import read_world_document
        from diagplan.worlds import SHIPPED
        from diagplan.worlds.loading import folder_of

        folder = folder_of(model)
        if model not in PRESETS and (model in SHIPPED or (folder / "world.json").is_file()):
            return replace(read_world_document(folder / "world.json").layout(), **given)
        if model not in PRESETS:
            raise SpecError(
                f"expected a model out of {', '.join(model_layouts())}, or the folder of a world model, got {model!r}. "
                "`diagplan presets` lists them."
            )
        return preset_layout(model, **sizes)
    lacking = [name for name in ("rows", "cols") if name not in given]
    if lacking:
        raise SpecError(
            f"expected --model, or --rows and --cols, got no {' and no '.join('--' + name for name in lacking)}. "
            "`diagplan presets` lists the models."
        )
    return Layout(**{"frames": 1, **given})


def numbers_from_option(option: str, text: str) -> list[int]:
    """The whole numbers of an option such as ``1,2,4``.

    Raises:
        SpecError: something else stands between the commas.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"expected {option} as whole numbers with commas, e.g. 1,2,4, got {text!r}.") from None


@contextmanager
def naming_options(names: Iterable[str]) -> Iterator[None]:
    """Say ``--warm-up -1`` where an error of the library says ``warm_up=-1``."""
    try:
        yield
    except SpecError as error:
        text = str(error)
        for name in names:
            option = f"--{name.replace('_', '-')}"
            text = re.sub(rf"\b{name}=(\S+?)(?=[.,;]?(?:\s|$))", rf"{option} \1", text)
            text = re.sub(
                rf"(?<=expected ){name}(?= )|(?<= < ){name}(?= )|(?<= <= ){name}(?= )|(?<= or ){name}(?=,)",
                option,
                text,
            )
        raise SpecError(text) from None


def policies_from_options(bundle: str, **changes: Any) -> Policies:
    """A bundle's policies with single ones replaced.

    Raises:
        SpecError: no bundle has that name, or no policy that value.
    """
    if bundle not in BUNDLES:
        raise SpecError(f"expected --policies to be one of {', '.join(BUNDLES)}, got {bundle!r}.")
    return replace(BUNDLES[bundle], **{name: value for name, value in changes.items() if value is not None})


def sampler_from_options(
    *,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None = None,
    greedy: bool = False,
    adapter: str = "mc-ar",
) -> "Sampler":
    """Sampling as the options say, by the rules of a model family; greedy without any of them, or at temperature 0.

    Raises:
        SpecError: options that contradict each other, or that no sampler takes.
    """
    from diagplan.backends.sampling import Greedy
    from diagplan.models.sampling import sampler_for

    options = {"--temperature": temperature, "--top-k": top_k, "--top-p": top_p, "--min-p": min_p}
    asked = [name for name, value in options.items() if value is not None]
    if greedy and asked:
        raise SpecError(f"expected --greedy or {asked[0]}, got both. Give one of them.")
    if not asked:
        return Greedy()
    with naming_options(["temperature", "top_k", "top_p", "min_p"]):
        return sampler_for(adapter, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)


def guidance_from_options(text: str | None, branches: list[Any]) -> tuple[Any, Any]:
    """What ``replay`` takes as guidance and unconditional ids: a scale and an array, or weights and a list.

    Raises:
        SpecError: the text is no number, nor numbers with commas between.
    """
    if text is None:
        return None, None
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(
            f"expected --guidance to be a scale, or weights with commas between, got {shown(text)}. Write 3, or 3,-2."
        ) from None
    wanted = max(1, len(weights) - 1)
    if len(branches) != wanted:
        raise SpecError(
            f"expected {wanted} --unconditional for --guidance {text}, got {len(branches)}. Give one for each branch "
            "but the conditional one."
        )
    return (weights[0], branches[0]) if len(weights) == 1 else (weights, branches)


def whole_numbers(option: str, text: str) -> list[int]:
    """Whole numbers, written with commas.

    Raises:
        SpecError: something else is written.

    >>> whole_numbers("--samples", "3,7")
    [3, 7]
    """
    numbers = text.split(",")
    if not all(re.fullmatch(r" *[0-9]{1,18} *", number) for number in numbers):
        raise SpecError(f"expected {option} to be whole numbers with commas between, got {shown(text)}. Write 3,7.")
    return [int(number) for number in numbers]


def guided_steps(text: str) -> tuple[int, int | None]:
    """The first guided step and the end, written with a colon; without an end the last step.

    Raises:
        SpecError: something else is written.

    >>> guided_steps("0:100"), guided_steps("5:")
    ((0, 100), (5, None))
    """
    parts = re.fullmatch(r" *([0-9]{1,18}) *: *([0-9]{1,18})? *", text)
    if parts is None:
        raise SpecError(f"expected --guided-steps as FIRST:END, got {shown(text)}. Write 0:100, or 5: to the end.")
    return int(parts[1]), None if parts[2] is None else int(parts[2])


def schedule_from_options(
    layout: Layout,
    bundle: str,
    *,
    name: ScheduleOption | None,
    k: int | None,
    d: int | None,
    window: int | None,
    order: Path | None,
) -> Schedule:
    """The schedule that the options name, or that they imply.

    Raises:
        SpecError: the options name no schedule, or contradict each other.
    """
    name = name or _implied(k, window, order, bundle)
    takes = {"next-token": (), "diagonal": ("k", "d"), "imported": ("order",)}.get(name, ("window", "k"))
    given = {"k": k, "d": d, "window": window, "order": order}
    extra = [option for option, value in given.items() if value is not None and option not in takes]
    if extra:
        raise SpecError(
            f"expected no --{extra[0]} with the schedule {name}, got --{extra[0]} {given[extra[0]]}. Leave it out."
        )
    match name:
        case "next-token":
            return NextToken()
        case "imported":
            from diagplan.schemas.orders import read_order

            return read_order(_required("order", order, name))
        case "diagonal":
            delay = _required("k", k, name)
            return (
                bundle_schedule(bundle, layout, delay)
                if d is None and _sets_frame_delay(bundle)
                else Diagonal(k=delay, d=d)
            )
        case _:
            if k is not None and window is not None:
                raise SpecError(f"expected --window or --k for {name}, got --window {window} and --k {k}. Give one.")
            size = _required("window", k if window is None else window, name)
            return ZipAR(window=size, variant="llamagen" if name == "zipar-llamagen" else "ideal")


def _implied(k: int | None, window: int | None, order: Path | None, bundle: str) -> ScheduleOption:
    if order is not None:
        return "imported"
    if bundle == "zipar-llamagen" and (k is not None or window is not None):
        return "zipar-llamagen"
    if window is not None:
        return "zipar"
    if k is not None:
        return "diagonal"
    raise SpecError("expected a schedule, got none. Give --k (and --d), --window, --order or --schedule next-token.")


def _sets_frame_delay(bundle: str) -> bool:
    """Whether the bundle says which frame delay its source runs."""
    return bundle.startswith("mineworld")


def _required(option: str, value: Any, schedule: str) -> Any:
    if value is None:
        raise SpecError(f"expected --{option} for the schedule {schedule}, got none.")
    return value
