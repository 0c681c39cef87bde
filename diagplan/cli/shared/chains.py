"""Chains on the command line: grids one after the other, what they cost, and how that is printed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.text import Text

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, console, print_json, print_table, working
from diagplan.cli.shared.requests import LAYOUT, layout_from_options
from diagplan.planner.chain import Chain, ChainCost
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Schedule

__all__ = ["Between", "Then", "chain_layouts_from_options", "compile_and_print", "cost_json", "print_cost"]

Then = Annotated[
    list[str] | None,
    option(
        LAYOUT,
        "Then this grid in the same sequence, as a chain of plans on one cache: a model's name, or ROWSxCOLS; may be "
        "repeated. Left out: one plan.",
    ),
]
Between = Annotated[
    int | None,
    option(LAYOUT, "Given tokens between two grids, with --then, such as an image's end and start. Left out: none."),
]


def chain_layouts_from_options(first: Layout, then: Sequence[str], between: int | None) -> tuple[Layout, ...]:
    """The layouts of a chain: the first one, and those that ``--then`` names, one after the other.

    Raises:
        SpecError: a name of no model and no ROWSxCOLS, or a sequence that is too long.
    """
    from diagplan.planner.chain_compiler import chain_layouts

    return chain_layouts([first, *(_grid(first, text) for text in then)], 0 if between is None else between)


def _grid(first: Layout, text: str) -> Layout:
    size = re.fullmatch(r"([0-9]{1,8})x([0-9]{1,8})", text)
    if size is None:
        return layout_from_options(text)
    grid = replace(first, prompt_frames=0, lead=1)  # where it lies is said later
    return replace(grid, rows=int(size[1]), cols=int(size[2]))


def compile_and_print(
    layouts: Sequence[Layout],
    schedule: Callable[[Layout], Schedule],
    policies: Policies,
    *,
    max_width: int | None,
    out: Path | None,
    masks: Literal["explicit", "rule"],
    refeed: bool,
    as_json: bool,
) -> int:
    """Compile a chain, verify it, write it, and print what it costs.

    Raises:
        SpecError: the description is inconsistent.
        InvalidPlanError: the compiler made a chain that does not verify.
        DocumentError: the file cannot be written.
    """
    from diagplan.planner.chain_compiler import compile_chain
    from diagplan.planner.checker.chains import verify_chain
    from diagplan.schemas.chain_files import chain_digest, write_chain

    with working("compiling", quiet=as_json):
        timings = [schedule(layout) for layout in layouts]
        chain = compile_chain(layouts, timings, policies, max_width=max_width, refeed=refeed)
    with working("verifying", quiet=as_json):
        report = verify_chain(chain)
    if not report.ok:
        raise InvalidPlanError(
            f"the compiled chain does not verify: {report.diagnostics[0].message} Please report this."
        )
    digest = chain_digest(chain)
    if out is not None:
        with working(f"writing {out}", quiet=as_json):
            write_chain(chain, out, masks=masks)
    if as_json:
        print_json(
            cost_json(chain)
            | {"digest": digest, "policies": asdict(policies), "warnings": report.warnings}
            | {"out": None if out is None else str(out)}
        )
        return FINE
    print_cost(chain)
    screen = console()
    screen.print(Text(f"warnings of the checker {report.warnings:,}"), soft_wrap=True)
    screen.print(Text(f"digest {digest}"), soft_wrap=True)
    if out is not None:
        screen.print(Text(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    return FINE


def cost_json(chain: Chain) -> dict[str, Any]:
    """A chain's cost, in all and of each plan, ready for JSON."""
    return _whole(chain.cost()) | {
        "chain": [
            {"layout": asdict(plan.layout), "steps": run.plan.steps, "tokens": plan.layout.tokens}
            | {"kept": len(run.held.position), "feeds": run.plan.feeds}
            for plan, run in ((plan, chain.continued(number)) for number, plan in enumerate(chain.plans))
        ]
    }


def _whole(cost: ChainCost) -> dict[str, Any]:
    return {
        "plans": cost.plans, "steps": cost.passes, "tokens": cost.tokens,
        "speedup": round(cost.tokens / cost.passes, 4), "prefill_tokens": cost.prefill_tokens,
        "kept_tokens": cost.kept_tokens,
    }  # fmt: skip


def print_cost(chain: Chain) -> None:
    """Print a chain's plans, one a line, and their sum."""
    cost = chain.cost()
    lines = []
    for number, plan in enumerate(chain.plans):
        run = chain.continued(number)
        lines.append((number, f"{plan!r}"[6:].partition(":")[0], run.plan.steps, plan.layout.tokens,
                      len(run.held.position), run.plan.feeds))  # fmt: skip
    print_table([">plan", "schedule and grid", ">passes", ">tokens", ">kept", ">feeds"], lines)
    speedup = f"{cost.passes:,} passes for {cost.tokens:,} tokens, {cost.tokens / cost.passes:.2f} x"
    known = f"{cost.kept_tokens:,} tokens kept, {cost.prefill_tokens:,} fed to begin plans"
    console().print(Text(f"{speedup}; {known}"), soft_wrap=True)
