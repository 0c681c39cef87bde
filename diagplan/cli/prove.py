"""Prove the theorems behind the plans."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.output import (
    FINE,
    PROBLEM,
    JsonOption,
    WideOption,
    command,
    console,
    print_json,
    print_table,
    working,
)

__all__ = ["prove_command"]


def _names() -> list[str]:
    from diagplan.planner.proofs import THEOREMS

    return [theorem.name for theorem in THEOREMS]


@command
def prove_command(
    theorem: Annotated[
        list[str] | None,
        typer.Option(
            help="Prove this theorem; may be repeated. Left out: all of them.",
            show_default=False,
            autocompletion=_names,
        ),
    ] = None,
    wrong: Annotated[
        bool,
        typer.Option(
            "--wrong",
            help="Ask for a deliberately false variant of each theorem instead; each should be refuted.",
            show_default=False,
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(help="Give Z3 so many seconds for each query.", min=0.1)] = 60.0,
    wide: WideOption = False,
    as_json: JsonOption = False,
) -> int:
    """Prove the theorems behind the plans, for all sizes, with Z3. Exit code 1 if one is not proved."""
    from diagplan.planner.proofs import prove

    wanted = "refuted" if wrong else "proved"
    results = []
    with working("proving", quiet=as_json) as status:
        for result in prove(theorem, variant="wrong" if wrong else "true", timeout_s=timeout):
            results.append(result)
            if status is not None:
                status.update(f"proving: {len(results)} done, last {result.name}")
    ok = all(result.verdict == wanted for result in results)
    if as_json:
        print_json({"ok": ok, "theorems": [asdict(result) for result in results]})
    else:
        columns = ["theorem", "verdict", ">seconds"]
        rows: list[tuple[object, ...]] = [(one.name, one.verdict, f"{one.seconds:.2f}") for one in results]
        if wide or any(one.counterexample for one in results):
            columns.append("counterexample")
            rows = [(*row, _assignment(one.counterexample)) for row, one in zip(rows, results, strict=True)]
        if wide:
            columns += ["in words", "true formula" if wrong else "formula"]
            rows = [(*row, one.words, one.formula) for row, one in zip(rows, results, strict=True)]
        print_table(columns, rows)
        seconds = sum(result.seconds for result in results)
        right = sum(result.verdict == wanted for result in results)
        console().print(Text(f"{right} of {len(results)} {wanted}, {seconds:.1f} s"))
    return FINE if ok else PROBLEM


def _assignment(counterexample: dict[str, int] | None) -> str:
    return "" if counterexample is None else ", ".join(f"{name}={value}" for name, value in counterexample.items())
