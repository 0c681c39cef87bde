"""A run's folder: what does not belong there is refused, a checkpoint is whole."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from diagplan.planner.errors import DocumentError, MissingExtraError  # noqa: E402
from diagplan.training.runs import Run  # noqa: E402


def parts() -> tuple[Any, Any]:
    model = torch.nn.Linear(2, 3)
    return model, torch.optim.AdamW(model.parameters())


def test_folders_of_other_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "[]", "{"):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(DocumentError, match="expected the settings of a training run"):
            Run(tmp_path, {"a": 1})
    (tmp_path / "settings.json").write_text('{"a": 2, "b": 1}')
    with pytest.raises(DocumentError, match="with other a, b"):
        Run(tmp_path, {"a": 1})
    run = Run(tmp_path, {"a": 2, "b": 1})
    assert run.resume(*parts()) == 0
    for data in (b"", b"hello"):
        (tmp_path / "checkpoint.pt").write_bytes(data)
        with pytest.raises(DocumentError, match=r"cannot read the checkpoint .*Remove it"):
            run.resume(*parts())
    with pytest.raises(DocumentError, match="cannot make the folder"):
        Run(tmp_path / "settings.json" / "run", {})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"diagplan\[train\]"):
        Run(tmp_path / "new", {})


@pytest.mark.parametrize("lost", ["model", "optimizer", "step", "seconds", "log"])
def test_a_checkpoint_without_a_part(tmp_path: Path, lost: str) -> None:
    run, path = Run(tmp_path, {}), tmp_path / "checkpoint.pt"
    run.save(*parts(), 3)
    assert run.resume(*parts()) == 3
    state = torch.load(path, weights_only=True)
    torch.save({name: part for name, part in state.items() if name != lost}, path)
    message = f"cannot read the checkpoint {path} (KeyError). Remove it to train from the start."
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"):
        run.resume(*parts())


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    run.save(*parts(), 3)
    other = torch.nn.Linear(2, 4)
    with pytest.raises(DocumentError, match=r"cannot read the checkpoint .*\(RuntimeError\)"):
        run.resume(other, torch.optim.AdamW(other.parameters()))


def test_a_run_goes_on_with_its_log_and_its_clock(tmp_path: Path) -> None:
    run, (model, optimizer) = Run(tmp_path, {}), parts()
    run.log(1, loss=0.5)
    run.save(model, optimizer, 1)
    path = tmp_path / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | {"seconds": 1000.0}, path)
    run.log(2, loss=0.25)
    again, (fresh, its) = Run(tmp_path, {}), parts()
    assert again.resume(fresh, its) == 1
    assert torch.equal(fresh.weight, model.weight)
    again.log(2, loss=0.125)
    assert [(row["step"], row["loss"]) for row in again.rows] == [(1, 0.5), (2, 0.125)]
    assert 1000 <= again.rows[-1]["seconds"] < 1100


def test_a_checkpoint_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, {})
    run.save(*parts(), 1)

    def half(_: object, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            run.save(*parts(), 2)
    assert run.resume(*parts()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "settings.json"]


def test_what_a_checkpoint_says_is_done_is_in_the_log_and_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its files at the last step, a run would never write the others: there is no step left."""
    run = Run(tmp_path, {})
    run.log(1, loss=0.5)
    run.save(*parts(), 1)
    run.log(2, loss=0.25)

    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("diagplan.training.runs._curves", stop)
        with pytest.raises(KeyboardInterrupt):
            run.save(*parts(), 2)
    assert Run(tmp_path, {}).resume(*parts()) == 1
