"""What the commands that train share: the defaults that --help shows are the recipes', and what an interrupt says."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diagplan.cli import app  # noqa: E402
from diagplan.cli.shared.training import interrupted  # noqa: E402
from diagplan.training.finetune import FinetuneRecipe  # noqa: E402
from diagplan.training.tokenizer import TokenizerRecipe  # noqa: E402
from diagplan.training.world_model import WorldRecipe  # noqa: E402


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("train tokenizer", TokenizerRecipe()), ("train model", WorldRecipe()), ("finetune", FinetuneRecipe())],
)
def test_the_defaults_that_help_shows(name: str, recipe: Any) -> None:
    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    shown = {one.name: one.show_default for one in found.params if isinstance(one.show_default, str)}
    assert {"steps", "batch", "seed", "learning_rate"} <= set(shown)
    for option, text in shown.items():
        value = asdict(recipe)[option]
        first = re.split(r";", text)[0]
        assert first == ("bfloat16" if value is True else str(value)), option


def test_an_interrupt_before_the_first_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert interrupted(tmp_path, as_json=False) == 130
    assert "no checkpoint was written yet. Run it again to begin anew." in capsys.readouterr().err
    (tmp_path / "checkpoint.pt").touch()
    interrupted(tmp_path, as_json=False)
    assert "the last checkpoint stays" in capsys.readouterr().err
