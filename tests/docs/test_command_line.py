"""docs/command-line.md describes every command and every option, and no other."""

import re
from typing import Any

import typer

from diagplan.cli import app
from tests.support.pages import DOCS, sections

COMMANDS = DOCS / "command-line.md"


def click_commands() -> dict[str, Any]:
    """The commands by name, those of a group as ``group command``, in the order of --help."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": one for word, one in inner.items()}
    return found


def long_options(command: Any) -> set[str]:
    names = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return {name for name in names if name.startswith("--")}


def test_every_command_and_option_is_described() -> None:
    described = sections(COMMANDS, level=2)
    found = click_commands()
    known = set().union(*map(long_options, found.values()))
    assert list(found) == [name.strip("`") for name in described if name.strip("`") in found]
    for name, command in found.items():
        text = described[f"`{name}`"]
        mentioned = set(re.findall(r"`(--[a-z][a-z0-9-]*)", text))
        assert long_options(command) - {"--help"} <= mentioned, name
        assert mentioned <= known, name
    group: Any = typer.main.get_command(app)
    for option in long_options(group) | {"--help", "--json"}:
        assert f"`{option}`" in COMMANDS.read_text(), option
