"""A run's folder: what does not belong there is refused, a checkpoint is whole."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from diagplan.planner.errors import DocumentError, MissingExtraError  # noqa: E402
from diagplan.training.runs import Run  # noqa: E402


def test_folders_of_other_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "[]", "{"):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(DocumentError, match="expected the settings of a training run"):
            Run(tmp_path, {"a": 1})
    (tmp_path / "settings.json").write_text('{"a": 2, "b": 1}')
    with pytest.raises(DocumentError, match="with other a, b"):
        Run(tmp_path, {"a": 1})
    run = Run(tmp_path, {"a": 2, "b": 1})
    assert run.resume() is None
    for data in (b"", b"hello"):
        (tmp_path / "checkpoint.pt").write_bytes(data)
        with pytest.raises(DocumentError, match=r"cannot read the checkpoint .*Remove it"):
            run.resume()
    torch.save({"step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(DocumentError, match="cannot read the checkpoint"):
        run.resume()
    with pytest.raises(DocumentError, match="cannot make the folder"):
        Run(tmp_path / "settings.json" / "run", {})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"diagplan\[train\]"):
        Run(tmp_path / "new", {})


def test_a_checkpoint_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, {})
    run.save({"step": 1})

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            run.save({"step": 2})
    assert run.resume() == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "settings.json"]
