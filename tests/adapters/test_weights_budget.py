"""What the headers of weights may cost: safetensors headers, indexes, and how they compare with a model's."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.cosmos_files import cosmos_config, open_cosmos  # noqa: E402
from diagplan.adapters.headers import Header, compare_weights, nearest  # noqa: E402
from diagplan.adapters.mc_ar_files import compare_mc_ar  # noqa: E402
from diagplan.adapters.weights import Checkpoint, open_checkpoint  # noqa: E402
from diagplan.adapters.wham_files import open_wham, read_wham_config  # noqa: E402
from diagplan.planner.arguments import exists, is_file  # noqa: E402
from diagplan.planner.errors import DiagplanError, DocumentError  # noqa: E402
from tests.support.budget import within_budget  # noqa: E402

MIB = 1 << 20


def tensor(name: str, shape: str = "[0]", end: int = 0, begin: int = 0) -> str:
    return f'"{name}":{{"dtype":"U8","shape":{shape},"data_offsets":[{begin},{end}]}}'


HEADERS: dict[str, tuple[str, str, int]] = {
    "as long as it says, of 90 MiB": (" " * (90 * MIB), "a header of 94,371,840 bytes, of at most 16,777,216", 0),
    "of many tensors": (
        "{" + ",".join(tensor(f"{i:x}") for i in range(250_000)) + "}", "250,000 tensors, of at most 100,000", 0
    ),
    "deep": ('{"a":' + "[" * (15 * MIB), "recursion limit", 0),
    "of a long word": ('{"a":{"dtype":"' + "U" * (15 * MIB), "EOF while parsing", 0),
    "of an axis and millions more": ("{" + tensor("a", f"[{'1,' * 7 * MIB}1]", 1) + "}", "at most 64 axes", 1),
    "of ranges that overlap": ("{" + tensor("a", "[2]", 2) + "," + tensor("b", "[1]", 2, 1) + "}", "invalid offset", 2),
    "of a range behind the file": ("{" + tensor("a", "[9]", 9) + "}", "cannot be read", 2),
    "of sizes that run over": ("{" + tensor("a", "[4294967296,4294967296,4294967296]", 2) + "}", "cannot be read", 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_safetensors_headers(kind: str, tmp_path: Path) -> None:
    text, said, data = HEADERS[kind]
    path = tmp_path / "w.safetensors"
    # As many bytes of tensors as the header says, for those that are right in this.
    path.write_bytes(struct.pack("<Q", len(text)) + b"{" + text[1:].encode() + bytes(data))
    with pytest.raises(DocumentError) as caught, within_budget():
        open_checkpoint(path)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_as_many_tensors_as_are_read(tmp_path: Path) -> None:
    text = "{" + ",".join(tensor(f"layers.{i}.attention.weight") for i in range(100_000)) + "}"
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode())
    with within_budget():
        checkpoint = open_checkpoint(path)
        assert not checkpoint.headers.keys() ^ {f"layers.{i}.attention.weight" for i in range(100_000)}
        compare_mc_ar(checkpoint, "700M_16f")


def test_headers_compare_in_a_time_of_their_number() -> None:
    """Half of them ignored, half unexpected: no list of the one is searched for each of the other."""
    headers = {f"{kind}.{i}": Header((1,), "float32") for i in range(50_000) for kind in ("tokenizer", "x")}

    class Sizes:
        def shapes(self) -> dict[str, tuple[int, ...]]:
            return {"w": (1,)}

    with within_budget():
        found = compare_weights(headers, {"w": (1,)}, ignored=("tokenizer.*",))
        assert (len(found.ignored), len(found.unexpected)) == (50_000, 50_000)
        assert nearest(headers, {"a": Sizes()}, lambda _: found)[0] == "a"


def test_a_long_name_is_cut_in_an_error() -> None:
    headers = {"n" * MIB: Header((1,), "float32"), "m" * MIB: Header((2,), "int8")}
    found = compare_weights(headers, {"m" * MIB: (1,), "o" * MIB: (1,)})
    assert "m" * 100 + " [2] for [1]" in found.words()
    assert "m" * 100 + " (int8)" in found.words()
    assert len(found.words()) < 1500


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ("s" * MIB, "expected shards by plain file names"),
        ("s" * 256, "expected shards by plain file names"),
        ("\U0001f600" * 255, "got no file '"),
        ("\ud800", r"got no file '\ud800'"),
        ([[[0]] * 9] * 9, "w=a list of 9"),
    ],
    ids=["text", "name", "bytes", "surrogate", "list"],
)
def test_shards_of_no_name(shard: Any, said: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": shard}}))
    with pytest.raises(DocumentError) as caught, within_budget():
        open_checkpoint(tmp_path)
    assert said in str(caught.value)
    str(caught.value).encode()
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize(
    "text",
    [
        '{"weight_map": {"a": "b"}}' + " " * (17 * MIB),
        '{"weight_map": [' + "{}," * (5 * MIB) + "{}]}",
        '{"weight_map": ' + "[" * (15 * MIB),
        '{"weight_map": {' + ",".join(f'"{i:x}": "none"' for i in range(700_000)) + "}}",
    ],
    ids=["large", "wide", "deep", "many"],
)
def test_indexes(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(DocumentError) as caught, within_budget():
        open_checkpoint(tmp_path)
    assert "MemoryError" not in str(caught.value)


def test_a_checkpoint_has_tensors_that_a_model_may_have(tmp_path: Path) -> None:
    def checkpoint(headers: dict[str, Header]) -> Checkpoint:
        return Checkpoint(tmp_path, "torch", [], headers, lambda _: torch.zeros(1))

    assert len(checkpoint({"w": Header((1,) * 64, "int8")}).headers) == 1
    with pytest.raises(DocumentError, match=r"^expected tensors of at most 64 axes, got .* with one of more\.$"):
        checkpoint({"w": Header((1,) * 65, "int8")})
    with pytest.raises(DocumentError, match=r"^expected a checkpoint of at most 100,000 tensors, got .* with more\.$"):
        checkpoint({str(i): Header((), "int8") for i in range(100_001)})


@pytest.mark.parametrize("name", ["x" * 100_000, "a\x00b"])
def test_names_that_no_file_can_have(name: str) -> None:
    assert not is_file(name)
    assert not exists(name)
    readers: list[Any] = [cosmos_config, open_cosmos, open_wham, read_wham_config, open_checkpoint]
    for read in readers:
        with pytest.raises(DiagplanError, match=r"expected|cannot read"):
            read(name)
