"""Checkpoints: what is read from them, and what is refused."""

import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.headers import Header, compare_weights  # noqa: E402
from diagplan.adapters.weights import LazyWeights, open_checkpoint  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.checkpoints import write_folder, write_index, write_safetensors, write_torch  # noqa: E402

WEIGHTS = {
    "model.a.weight": torch.arange(12.0).reshape(3, 4) / 7,
    "model.b.weight": torch.arange(6.0).reshape(2, 3).to(torch.bfloat16) / 3,
    "model.c.weight": torch.arange(5.0).to(torch.float16),
    "model.d.weight": torch.arange(10.0).reshape(2, 5).T,  # not contiguous
}
HEADERS = {
    "model.a.weight": Header((3, 4), "float32"),
    "model.b.weight": Header((2, 3), "bfloat16"),
    "model.c.weight": Header((5,), "float16"),
    "model.d.weight": Header((5, 2), "float32"),
}
FORMS: dict[str, Callable[[Path], Path]] = {
    "state_dict": lambda folder: write_torch(WEIGHTS, folder / "w.ckpt"),
    "plain dict": lambda folder: write_torch(WEIGHTS, folder / "w.bin", holder=None),
    "model": lambda folder: write_torch(WEIGHTS, folder / "w.pt", holder="model"),
    "safetensors": lambda folder: write_safetensors(WEIGHTS, folder / "misnamed.ckpt"),
    "folder": lambda folder: write_folder(WEIGHTS, folder / "one"),
    "shards": lambda folder: write_folder(WEIGHTS, folder / "some", shards=3),
}


@pytest.fixture(params=FORMS)
def checkpoint_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FORMS[request.param](tmp_path)


def refused(path: Path) -> str:
    """The one line with which a checkpoint is refused."""
    with pytest.raises(DocumentError) as caught:
        open_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_headers_come_first(checkpoint_path: Path) -> None:
    assert dict(open_checkpoint(checkpoint_path).headers) == HEADERS


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tensors_are_read_in_one_dtype_into_memory_of_their_own(checkpoint_path: Path, dtype: str) -> None:
    checkpoint = open_checkpoint(checkpoint_path)
    wanted = getattr(torch, dtype)
    lazy = LazyWeights(checkpoint, {name.upper(): name for name in WEIGHTS}, dtype=wanted)
    assert list(lazy) == [name.upper() for name in WEIGHTS]
    # Several times over: a mapped torch file is let go and mapped again on the way.
    read: dict[str, Any] = {}
    for _ in range(3):
        read = {name: lazy[name.upper()] for name in WEIGHTS}
        for name, tensor in read.items():
            assert tensor.is_contiguous()
            assert tensor.dtype == wanted
            torch.testing.assert_close(tensor, WEIGHTS[name].to(wanted), rtol=0, atol=0)
    for file in checkpoint.files:
        file.write_bytes(b"\xff" * file.stat().st_size)  # in place: a view of the mapped file would change
    for name, tensor in read.items():
        torch.testing.assert_close(tensor, WEIGHTS[name].to(wanted), rtol=0, atol=0)


def test_a_tensor_above_a_megabyte_is_read_as_well(tmp_path: Path) -> None:
    big = {"w": torch.randn(600, 700)}
    for path in (write_torch(big, tmp_path / "w.ckpt"), write_safetensors(big, tmp_path / "w.safetensors")):
        read = open_checkpoint(path).read("w")
        assert read.equal(big["w"])
        read += 1
        assert open_checkpoint(path).read("w").equal(big["w"])


def test_a_file_that_changes_after_opening(tmp_path: Path) -> None:
    path = write_safetensors(WEIGHTS, tmp_path / "w.safetensors")
    checkpoint = open_checkpoint(path)
    write_safetensors({name: torch.zeros(7) for name in WEIGHTS}, path)
    with pytest.raises(DocumentError, match=re.escape("model.a.weight has changed")):
        checkpoint.read("model.a.weight")
    path.unlink()
    with pytest.raises(DocumentError, match="which cannot be read"):
        checkpoint.read("model.a.weight")


class Malicious:
    """Unpickled by a reader that runs code, it leaves a file behind."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("form", ["zip", "zip without state_dict", "legacy", "pickle"])
def test_nothing_is_executed(form: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "w.ckpt"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": {"w": Malicious(witness)}}))
    else:
        held = {"w": Malicious(witness)}
        saved = (
            held if form == "zip without state_dict" else {"state_dict": held, "hyper_parameters": Malicious(witness)}
        )
        torch.save(saved, path, _use_new_zipfile_serialization=form != "legacy")
    message = refused(path)
    assert "posix.system" in message if form.startswith("zip") else "expected a torch zip file" in message
    assert not witness.exists()
    # The trap works: an ordinary unpickler does run it.
    if form == "pickle":
        pickle.loads(path.read_bytes())
        assert witness.exists()


def test_a_class_of_a_training_framework_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": WEIGHTS, "hyper_parameters": Path("x")}, path)
    assert re.search(r"asks for pathlib\S*Path\. Nothing in a checkpoint is executed\.", refused(path))


def test_names_of_others_are_read_as_names_where_that_is_asked_for(tmp_path: Path) -> None:
    """They stay data: nothing runs, and a tensor's place that one takes is no tensor."""
    witness, path = tmp_path / "witness", tmp_path / "w.pt"
    torch.save({"model": WEIGHTS, "args": Malicious(witness), "folder": Path("x")}, path)
    assert "posix.system" in refused(path)
    checkpoint = open_checkpoint(path, foreign=True)
    assert set(checkpoint.headers) == set(WEIGHTS)
    for name, weight in WEIGHTS.items():
        assert torch.equal(checkpoint.read(name), weight)
    torch.save({"w": Malicious(witness)}, path)
    assert open_checkpoint(path, foreign=True).headers["w"].dtype == "posix.system, no tensor"
    assert not witness.exists()


def test_what_is_no_tensor_is_listed_not_dropped(tmp_path: Path) -> None:
    extra = {"w": torch.zeros(2), "n": 3, "sparse": torch.eye(2).to_sparse(), "q": torch.zeros(2, dtype=torch.int64)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's own, about sparse checks
        headers = open_checkpoint(write_torch(extra, tmp_path / "w.ckpt")).headers
    assert headers["n"] == Header((), "int, no tensor")
    assert "sparse" in headers["sparse"].dtype
    found = compare_weights(headers, {name: tuple(header.shape) for name, header in headers.items()})
    assert [name for name, _ in found.not_float] == ["n", "sparse", "q"]


DEEP = {
    "a key of 900,000 tuples in each other": b"\x80\x02})" + b"\x85" * 900_000 + b"Ns.",
    "900,000 tuples under a name": b"\x80\x02}X\x01\x00\x00\x00w)" + b"\x85" * 900_000 + b"s.",
    "a key of 2**60 parts": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
}


@pytest.mark.parametrize("pickled", DEEP.values(), ids=DEEP)
def test_deep_pickles_do_not_end_the_process(pickled: bytes, tmp_path: Path) -> None:
    """torch.load(weights_only=True) ends with a segmentation fault on the first."""
    path = write_torch({"w": torch.zeros(3)}, tmp_path / "w.ckpt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "h.ckpt", "w") as target:
        for entry in source.infolist():
            hostile = entry.filename.endswith("/data.pkl")
            target.writestr(entry.filename, pickled if hostile else source.read(entry))
    code = (
        "import sys\nfrom diagplan.adapters.weights import open_checkpoint\n"
        "from diagplan.planner.errors import DocumentError\n"
        "try:\n    print(open_checkpoint(sys.argv[1]).headers['w'].dtype)\n"
        "except DocumentError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "h.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "tuple, no tensor" in done.stdout or "expected a dict of tensors by name" in done.stdout


def test_every_kind_of_tensor_is_what_torch_reads(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    held = {str(dtype): base.to(dtype) for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.uint16, torch.float8_e4m3fn,
    )}  # fmt: skip
    held |= {"a view": base[1:3, ::2], "the same": base, "a parameter": torch.nn.Parameter(base), "none": base[:0]}
    held["a number"] = torch.tensor(3.5)
    tagged = base.clone()
    tagged.some_attribute = 3
    held["with an attribute"] = tagged
    path = write_torch(held, tmp_path / "w.ckpt")
    checkpoint = open_checkpoint(path)
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert set(checkpoint.headers) == set(expected)
    for name, tensor in expected.items():
        assert checkpoint.headers[name] == Header(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        read = checkpoint.read(name)
        assert (read.dtype, read.tolist()) == (tensor.dtype, tensor.tolist())


def test_negated_numbers_are_not_read_as_they_are_stored(tmp_path: Path) -> None:
    negated = torch.complex(torch.ones(3), torch.ones(3)).conj()
    assert open_checkpoint(write_torch({"w": negated}, tmp_path / "w")).headers["w"].dtype.endswith("no tensor")


@pytest.mark.parametrize("value", [[1, 2], 3, {3: torch.zeros(1)}], ids=["list", "int", "int names"])
def test_other_contents_of_a_torch_file(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.ckpt")
    assert "expected a dict of tensors by name" in refused(tmp_path / "w.ckpt")


@pytest.mark.parametrize("form", ["state_dict", "safetensors", "folder", "shards"])
def test_cut_files(form: str, tmp_path: Path) -> None:
    path = FORMS[form](tmp_path)
    file = path if path.is_file() else sorted(path.glob("*.safetensors"))[-1]
    whole = file.read_bytes()
    for kept in sorted({0, 1, 3, 4, 8, 9, 40, len(whole) // 3, len(whole) // 2, len(whole) - 30, len(whole) - 1}):
        file.write_bytes(whole[:kept])
        assert str(file) in refused(path) or form == "folder"
    file.write_bytes(whole)
    open_checkpoint(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "which is empty"),
        (b"GGUF\x03\x00\x00\x00\x00", "which begins with b'GGUF\\x03\\x00\\x00\\x00'"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "a header of 4,611,686,018,427,387,904 bytes, of at most 16,777,216"),
        ((9 << 20).to_bytes(8, "little") + b"{}", "invalid header length"),
        ((2).to_bytes(8, "little") + b"{{", "SafetensorError"),
        (b"PK\x03\x04" + bytes(200), "which cannot be read"),
    ],
)
def test_wrong_contents(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(data)
    assert said in refused(tmp_path / "w")


def test_a_compressed_entry_is_refused(tmp_path: Path) -> None:
    path = write_torch(WEIGHTS, tmp_path / "w.ckpt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "z.ckpt", "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert "a compressed entry" in refused(tmp_path / "z.ckpt")


def test_missing_and_unnameable_files(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none")
    assert "null" in refused(Path("a\0b"))


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "with nothing" in refused(tmp_path / "empty")
    (tmp_path / "empty/pytorch_model.bin").touch()
    assert "with pytorch_model.bin" in refused(tmp_path / "empty")
    folder = write_folder(WEIGHTS, tmp_path / "both", shards=2)
    write_safetensors(WEIGHTS, folder / "model.safetensors")
    assert "with both" in refused(folder)


SHARD = "model-00001-of-00002.safetensors"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.a.weight": "../secret.safetensors"}, "got model.a.weight='../secret.safetensors'"),
        ({"model.a.weight": "/etc/passwd"}, "got model.a.weight='/etc/passwd'"),
        ({"model.a.weight": "sub/x.safetensors"}, "got model.a.weight='sub/x.safetensors'"),
        ({"model.a.weight": "..\\x"}, "expected shards by plain file names"),
        ({"model.a.weight": ".."}, "got model.a.weight='..'"),
        ({"model.a.weight": ""}, "got model.a.weight=''"),
        ({"model.a.weight": 3}, "got model.a.weight=3"),
        ({"model.a.weight": "model-00009-of-00002.safetensors"}, "got no file 'model-00009-of-00002.safetensors'"),
        ({"model.a.weight": "x" * 5000}, "got model.a.weight='xxxxx"),
        ({"model.z.weight": SHARD}, f"got 1 missing and 0 unlisted: model.z.weight in {SHARD}"),
        ({"model.a.weight": None}, "got model.a.weight=None"),
    ],
)
def test_bad_indexes(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = write_folder(WEIGHTS, tmp_path / "w", shards=2)
    write_safetensors(WEIGHTS, tmp_path / "secret.safetensors")
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    write_index(folder, places | change)
    assert said in refused(folder)
    write_index(folder, {name: places[name] for name in places if name != "model.a.weight"})
    assert f"got 0 missing and 1 unlisted: model.a.weight in {SHARD}" in refused(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\xff", "[" * 100_000])
def test_indexes_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    assert "which cannot be read" in refused(tmp_path)


def test_linked_files_of_the_hubs_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    folder = write_folder(WEIGHTS, tmp_path / "snapshot", shards=2)
    for i, file in enumerate(sorted(folder.glob("*.safetensors"))):
        file.rename(tmp_path / "blobs" / str(i))
        file.symlink_to(Path("..", "blobs", str(i)))
    assert dict(open_checkpoint(folder).headers) == HEADERS


@given(data=st.data())
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "damage"
    if not folder.exists():
        folder.mkdir()
        for form in ("state_dict", "safetensors"):
            FORMS[form](folder)
    whole = bytearray((folder / data.draw(st.sampled_from(["w.ckpt", "misnamed.ckpt"]))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "damaged").write_bytes(whole)
    try:
        checkpoint = open_checkpoint(folder / "damaged")
        for name in checkpoint.headers:
            if checkpoint.headers[name].dtype.startswith("float"):
                checkpoint.read(name)
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017
