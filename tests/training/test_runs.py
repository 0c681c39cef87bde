"""A run's folder: what does not belong there is refused, a checkpoint is whole."""

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from diagplan.planner.errors import DocumentError, MissingExtraError  # noqa: E402
from diagplan.training.runs import Run, last_row  # noqa: E402


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


def test_the_last_row_is_read_or_refused(tmp_path: Path) -> None:
    assert last_row(tmp_path) == {}
    (tmp_path / "log.csv").write_bytes(b"step,loss,extra\n1,2.5,\n")
    assert last_row(tmp_path) == {"step": 1.0, "loss": 2.5}
    for data in (b"step\nx\n", b"step\n\xff\n", b"step\n1,2\n", b'step\n"' + b"1" * 200_000 + b'"\n'):
        (tmp_path / "log.csv").write_bytes(data)
        with pytest.raises(DocumentError, match=r"expected rows of numbers in .*log\.csv, got others"):
            last_row(tmp_path)


def test_a_run_goes_on_to_the_identical_result(tmp_path: Path) -> None:
    def step(model: Any, optimizer: Any) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()

    run, (model, optimizer) = Run(tmp_path, {}), parts()
    step(model, optimizer)
    run.save(model, optimizer, 1)
    model_too, optimizer_too = parts()
    run.resume(model_too, optimizer_too)
    for one, other in ((model, optimizer), (model_too, optimizer_too)):
        step(one, other)
    assert torch.equal(model.weight, model_too.weight)
    (tmp_path / "checkpoint.pt").write_bytes(b"")  # nothing of it is held any more
    step(model_too, optimizer_too)


def test_a_checkpoint_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    run, path = Run(tmp_path, {}), tmp_path / "checkpoint.pt"
    run.save(*parts(), 1)
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(DocumentError, match=r"cannot read the checkpoint .*\(ValueError\)"):
        run.resume(*parts())


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1}, {"step": 1.5}, {"seconds": "1"}, {"log": [{"step": "1"}]}, {"log": [3]}, {"log": {}},
        {"optimizer": {"state": {0: {"exp_avg": torch.zeros(99)}}, "param_groups": []}},
        {"optimizer": {"state": {-1: {}}, "param_groups": []}},
        {"optimizer": {"state": {0: dict.fromkeys("abcdefghi", 1)}, "param_groups": []}},
        {"model": {"weight": torch.zeros(3, 2), "bias": 3}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_checkpoint_with_other_things_in_it(change: dict[str, Any], tmp_path: Path) -> None:
    run, path = Run(tmp_path, {}), tmp_path / "checkpoint.pt"
    run.save(*parts(), 1)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(DocumentError, match="cannot read the checkpoint"):
        run.resume(*parts())
    assert run.rows == []


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
