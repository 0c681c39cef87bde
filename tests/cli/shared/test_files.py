"""What a command is to write is looked at before it computes."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from diagplan.cli.shared.files import IDS, PLANS, Output, require_outputs
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.cli import TINY, run


@pytest.mark.parametrize(
    ("name", "endings"),
    [
        ("tokens.npy", IDS),
        ("TOKENS.NPY", IDS),
        ("tokens", IDS),
        ("a.b.json.zst", PLANS),
        ("plan.json.gz", PLANS),
        ("out.mp4", (".mp4",)),
        ("new/folder", ()),
    ],
)
def test_what_fits(tmp_path: Path, name: str, endings: tuple[str, ...]) -> None:
    require_outputs(Output("-o", tmp_path / name, endings), Output("--gif", None, (".gif",)))


@pytest.mark.parametrize(
    ("name", "endings", "words"),
    [
        ("x.txt", IDS, "a name ending in .npy for -o, got "),
        ("x.txt", PLANS, "a name ending in .json, .json.gz or .json.zst for -o"),
        ("x", (".mp4",), "a name ending in .mp4 for -o"),
        ("npy", (".npy",), "a name ending in .npy for -o"),
    ],
)
def test_another_ending(tmp_path: Path, name: str, endings: tuple[str, ...], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"expected {words}")):
        require_outputs(Output("-o", tmp_path / name, endings))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.npy").mkdir()
    for name, endings, words in (
        ("none/x.npy", IDS, "expected -o in a folder that is there, got "),
        ("file/x.npy", IDS, "expected -o in a folder that is there, got "),
        ("folder.npy", IDS, "expected -o to name a file, got "),
        (f"{'n' * 5000}/x.npy", IDS, "expected -o in a folder that is there, got "),
        ("file", (), "expected -o to name a folder, got "),
    ):
        with pytest.raises(DocumentError, match=f"^{words}"):
            require_outputs(Output("-o", tmp_path / name, endings))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_closed_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DocumentError, match="in a folder that may be written to"):
        require_outputs(Output("-o", tmp_path / "x.npy", IDS))


def test_a_device_takes_anything() -> None:
    require_outputs(Output("-o", Path(os.devnull), IDS))


def test_no_input_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"")
    for outputs, inputs in (
        ([Output("-o", tmp_path / "a.npy", IDS)], {"--prompt": tmp_path / "a.npy"}),
        ([Output("-o", tmp_path / "b.npy", IDS), Output("--tokens", tmp_path / "b.npy", IDS)], {}),
    ):
        with pytest.raises(SpecError, match="expected different files"):
            require_outputs(*outputs, inputs=inputs)


#: Every command that writes files, with an ending that is none of its own; none of the inputs is there.
WRONG: list[tuple[Any, ...]] = [
    ("compile", *TINY, "-o"),
    ("schema", "-o"),
    ("graph", "no-plan.json", "-o"),
    ("show", "no-plan.json", "--png"),
    ("show", "no-plan.json", "--svg"),
    ("show", "no-plan.json", "--gif"),
    ("run", "no-plan.json", "--weights", "none", "-o"),
    ("run", "no-plan.json", "--weights", "none", "-o", "x.npy", "--checkpoint-every", "1", "--checkpoint"),
    ("generate", "--video", "none.mp4", "-o"),
    ("generate", "--video", "none.mp4", "-o", "x.mp4", "--gif"),
    ("generate", "--video", "none.mp4", "-o", "x.mp4", "--tokens"),
    ("convert-weights", "none.ckpt", "-o"),
    ("evaluate", "world", "--clips", "none", "-o"),
]
#: Those that write a folder.
FOLDERS: list[tuple[Any, ...]] = [
    ("generate", "--video", "none.mp4", "-o", "x.mp4", "--frames-dir"),
    ("export-onnx", "--weights", "none", "-o"),
    ("demo", "-o"),
    ("record", "-o"),
    ("train", "tokenizer", "--clips", "none", "-o"),
    ("train", "model", "--clips", "none", "--tokenizer", "none", "-o"),
    ("finetune", "--clips", "none", "--k", "2", "-o"),
    ("evaluate", "study", "--clips", "none", "-o"),
]


def named(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else ""


@pytest.mark.parametrize("command", WRONG, ids=named)
def test_every_command_looks_before_it_computes(
    command: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*command, "x.wrong")
    assert (code, out) == (2, "")
    assert err.startswith("diagplan: expected a name ending in .")
    assert f"for {command[-1]}, got x.wrong." in err
    ending = err.split("ending in ")[1].split()[0].rstrip(",")
    code, out, err = run(*command, f"none/x{ending}")
    assert (code, out) == (1, "")
    assert f"expected {command[-1]} in a folder that is there, got none/x{ending}. Make the folder." in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", FOLDERS, ids=named)
def test_a_file_is_no_folder(command: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    code, out, err = run(*command, "file")
    assert (code, out) == (1, "")
    assert f"expected {command[-1]} to name a folder, got file, which is a file." in err
    assert (tmp_path / "file").read_text() == "x"
