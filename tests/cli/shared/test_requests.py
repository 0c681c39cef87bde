"""From options to layouts and policies, and the completion of their values."""

from pathlib import Path
from typing import Any

import pytest
import typer

from diagplan import Layout
from diagplan.adapters.families import FAMILIES
from diagplan.cli import app
from diagplan.cli.shared.requests import layout_from_options, model_layouts, naming_options
from diagplan.planner.errors import SpecError
from diagplan.planner.presets import PRESETS
from diagplan.planner.proofs import THEOREMS
from diagplan.worlds.loading import SHIPPED, release_names
from tests.support.cli import run, run_json

MINI = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)


@pytest.mark.parametrize("model", ["crafter-mini", str(SHIPPED["crafter-mini"])])
def test_the_layout_of_a_world(model: str) -> None:
    assert layout_from_options(model) == MINI
    assert layout_from_options(model, frames=2, rows=None).frames == 2


def test_it_is_the_layout_that_the_world_itself_has() -> None:
    pytest.importorskip("torch")
    from diagplan.worlds import load_world

    assert load_world("crafter-mini", lazy=True).layout(7) == MINI


def test_a_plan_of_the_world_that_ships() -> None:
    assert run_json("compile", "--model", "crafter-mini", "--k", "2")["steps"] == 196
    assert run_json("steps", "--model", "crafter-mini", "--k", "2")["schedules"][0]["steps"] == 196
    assert run_json("presets")["models"]["crafter-mini"]["rows"] == 9


def test_a_folder_without_a_world_is_no_model(tmp_path: Path) -> None:
    code, _, err = run("compile", "--model", tmp_path, "--k", "2")
    assert code == 2
    assert err.startswith("diagplan: expected a model out of cosmos")


def completions(command: str, option: str) -> list[str]:
    from typer.main import get_command

    group: Any = get_command(app)
    found = group.commands[command]
    (parameter,) = [one for one in found.params if option in one.opts]
    return [item.value for item in parameter.shell_complete(typer.Context(found), "")]


@pytest.mark.parametrize("command", ["compile", "steps"])
def test_models_are_completed(command: str) -> None:
    assert completions(command, "--model") == [*PRESETS, "crafter-mini"] == list(model_layouts())


@pytest.mark.parametrize("command", ["generate", "demo", "finetune", "export-onnx"])
def test_world_models_are_completed(command: str) -> None:
    releases = list(release_names()) if command == "generate" else []
    assert completions(command, "--model") == [*SHIPPED, *releases]


def test_help_of_generate_names_all_families_releases() -> None:
    from typer.main import get_command

    group: Any = get_command(app)
    helped = {one.opts[0]: one.help for one in group.commands["generate"].params}
    assert all(name in helped["--model"] for name in [*SHIPPED, *release_names()])
    for family in FAMILIES.records():
        for option, note in family.notes.items():
            assert f"{family.name} {note}" in helped[f"--{option.replace('_', '-')}"]


@pytest.mark.parametrize("command", ["compile", "finetune"])
def test_policies_are_completed(command: str) -> None:
    names = ["above", "latest", "prompt", "previous-frame", "above-predecessor"]
    assert completions(command, "--proxy") == names
    assert completions(command, "--row-end") == ["keep", "refresh"]
    assert completions(command, "--proxy-kv") == ["visible", "hidden"]
    assert completions(command, "--visibility") == ["written", "causal"]
    assert "mineworld-video" in completions(command, "--policies")


def test_theorems_are_completed() -> None:
    assert completions("prove", "--theorem") == [theorem.name for theorem in THEOREMS]


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ("expected steps >= 1, got steps=0.", "expected --steps >= 1, got --steps 0."),
        ("0 < learning_rate < inf, got learning_rate=0.5.", "0 < --learning-rate < inf, got --learning-rate 0.5."),
        ("got whole_steps=-1, steps=2.", "got whole_steps=-1, --steps 2."),
    ],
)  # fmt: skip
def test_errors_name_the_option(said: str, want: str) -> None:
    with pytest.raises(SpecError) as caught, naming_options(["steps", "learning_rate"]):
        raise SpecError(said)
    assert str(caught.value) == want
