"""Lightning checkpoints: files of another kind, and damaged ones."""

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.lightning import open_lightning  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.checkpoints import rewrite_zip, write_torch  # noqa: E402
from tests.support.wham_files import WEIGHTS, write_lightning  # noqa: E402


def test_files_of_another_kind(tmp_path: Path) -> None:
    source = write_torch({"w": torch.zeros(3)}, tmp_path / "w.ckpt")
    assert open_lightning(source).checkpoint.read("w").equal(torch.zeros(3))
    for name, change in {
        "big-endian": lambda name, data: b"big" if name == "byteorder" else data,
        "no pickle": lambda name, data: None if name == "data.pkl" else data,
        "no storage": lambda name, data: None if name.startswith("data/") else data,
        "short storage": lambda name, data: data[:-1] if name.startswith("data/") else data,
    }.items():
        with pytest.raises(DocumentError, match="expected a Lightning checkpoint"):
            open_lightning(rewrite_zip(source, tmp_path / f"{name}.ckpt", change))
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(tmp_path / "z.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in old.infolist():
            packed.writestr(entry.filename, old.read(entry))
    with pytest.raises(DocumentError, match="a compressed entry"):
        open_lightning(tmp_path / "z.ckpt")


@given(data=st.data())
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "wham-damage"
    if not folder.exists():
        folder.mkdir()
        some = {name: w for name, w in WEIGHTS.items() if "h.0" in name or "wpe" in name}
        with pytest.MonkeyPatch.context() as patch:
            write_lightning(folder / "w", patch, some)
    whole = bytearray((folder / "w").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "damaged").write_bytes(whole)
    try:
        checkpoint = open_lightning(folder / "damaged").checkpoint
        for name, header in checkpoint.headers.items():
            if not header.dtype.endswith("no tensor"):
                assert tuple(checkpoint.read(name).shape) == header.shape
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017
