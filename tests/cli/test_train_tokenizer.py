"""`diagplan train tokenizer`, and wrong usage of both commands that train, in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.training.runs import Run  # noqa: E402
from tests.support.cli import run as run_cli  # noqa: E402

SMALL = ("--steps", 3, "--batch", 2)
SIZES = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--steps", 0], 2, "got --steps 0."),
        (["--batch", 0], 2, "got --batch 0."),
        (["--learning-rate", 0], 2, "got --learning-rate 0.0."),
        (["--learning-rate", "inf"], 2, "got --learning-rate inf."),
        (["--seed", -1], 2, "got --seed -1."),
        (["--device", "nonsense"], 2, "device='nonsense'"),
        (["--checkpoint-every", 0], 2, "--checkpoint-every to be at least 1"),
        (["--clips", "nowhere"], 1, "nowhere"),
    ],
)
@pytest.mark.parametrize("what", ["tokenizer", "model"])
def test_wrong_usage(recorded: Path, tmp_path: Path, what: str, more: list[object], code: int, words: str) -> None:
    tokenizer = ("--tokenizer", recorded / "tokenizer") if what == "model" else ()
    arguments = ("--clips", recorded / "clips", *tokenizer, "-o", tmp_path / "run")
    exit_code, out, err = run_cli("train", what, *arguments, *more)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_keeps_the_last_checkpoint(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    real = Run.save

    def save(run: Run, model: Any, optimizer: Any, step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt
        real(run, model, optimizer, step)

    monkeypatch.setattr(Run, "save", save)
    arguments = ("--clips", recorded / "clips", "-o", tmp_path / "run", *SMALL, "--codes", 4, "--checkpoint-every", 1)
    code, out, err = run_cli("train", "tokenizer", *arguments, *(["--json"] if as_json else []))
    assert code == 130
    said = "interrupted; the last checkpoint stays. Run it again to go on from there."
    assert (json.loads(out) if as_json else err) == ({"ok": False, "error": said} if as_json else f"diagplan: {said}\n")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 1
    assert not (tmp_path / "run" / "config.json").exists()
