"""Options of pictures: both commands take them, and describe each in the same words."""

from typing import Any

import typer

from diagplan.cli import app
from diagplan.cli.shared import pictures

SHARED = {"num", "size", "ratio", "negative", "suffix", "config", "vq", "features", "chunk", "guidance", "greedy"} | {
    "temperature", "top_k", "top_p", "min_p",
}  # fmt: skip


def test_both_commands_have_them_in_the_same_words() -> None:
    found: Any = typer.main.get_command(app)
    drawing, study = (
        {option.name: option.help for option in command.params}
        for command in (found.commands["image"], found.commands["evaluate"].commands["images"])
    )
    assert {name: drawing[name] for name in SHARED} == {name: study[name] for name in SHARED}
    assert len(SHARED) == sum(name.endswith("Option") for name in pictures.__all__)
