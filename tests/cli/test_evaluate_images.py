"""`diagplan evaluate images` on a tiny Janus-Pro, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from tests.support.cli import run, run_json
from tests.support.image_folders import folder_of


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\ndog\n\na bicycle\n")
    return path


def test_one_command_makes_a_table_a_plot_and_a_sheet(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    usual = ("evaluate", "images", "--model", folder_of("janus-pro"), "--prompts", prompts, "-o", out, "--count", 2)
    figures = run_json(*usual, "--plans", "k=2", "--greedy", "--samples", 1)
    assert (figures["prompts"], figures["plans"], figures["run_now"], figures["clip"]) == (2, 2, 2, False)
    assert [row["name"] for row in figures["rows"]] == ["ntp", "k=2"]
    assert figures["rows"][1]["figures"]["equal_ntp"]["mean"] < 1
    assert all(Path(path).exists() for path in figures["written"])
    code, text, err = run(*usual, "--plans", "k=2", "--greedy", "--samples", 0)
    assert (code, err) == (0, "")
    assert "2 prompts; 0 plans run, 2 done before" in text
    assert "CLIP score: weights needed. Give --clip FOLDER" in text
    code, _, err = run(*usual, "--plans", "k=2", "--samples", 0)
    assert code == 1
    assert "with other sampling" in err


def test_bad_input_gets_one_line(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    model = folder_of("janus-pro")

    def error(*options: object) -> str:
        code, text, err = run("evaluate", "images", "-o", out, *options)
        assert code in (1, 2)
        assert text == ""
        assert err.count("\n") == 1
        return err

    assert "weights needed:" in error("--model", model, "--prompts", prompts, "--clip", tmp_path)
    assert "none.txt" in error("--model", model, "--prompts", tmp_path / "none.txt")
    assert "nonsense" in error("--model", model, "--prompts", prompts, "--plans", "nonsense")
    assert "config.json" in error("--model", tmp_path, "--prompts", prompts)
    other = tmp_path / "model"
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "llama", "architectures": ["X"]}))
    assert str(other) in error("--model", other, "--prompts", prompts)
    assert "expected different files" in error("--model", model, "--prompts", prompts, "-o", prompts)
    assert not out.exists()
