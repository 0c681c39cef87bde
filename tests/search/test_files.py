"""The search in damaged files finds planted faults, and nothing else; seeds that found something are kept."""

from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "safetensors", "yaml", "av", "onnx", "onnxruntime", "onnxscript", "matplotlib"):
    pytest.importorskip(package)

from diagplan.schemas.arrays import array_from_npy  # noqa: E402
from tests.search.bounded import EXAMPLES, SEED  # noqa: E402
from tests.search.files import JUDGES  # noqa: E402
from tests.search.guard import judge_one, search  # noqa: E402

#: Seeds that once found a fault in diagplan, by kind.
FOUND = [
    ("Cosmos configs", "cosmos_json/1/176"),  # a nest where a number should be: RecursionError
    ("shards", "shards/1/165"),  # a name that is too long: OSError
    ("shards", "shards/1/193"),
    ("checkpoints of a replay", "checkpoint/1/44"),  # another step: other tokens
    ("checkpoints of a replay", "checkpoint/1/164"),  # another step: IndexError
    ("checkpoints of a replay", "checkpoint/1/202"),  # a deep nest: RecursionError
    ("records of a study", "study/1/64"),
    ("records of a training", "training/1/10"),
    ("checkpoints of a training", "training_checkpoint/1/83"),  # unpacked to 1.5 GiB
    ("videos", "videos/1/47"),  # an unknown codec: AttributeError
    ("videos", "videos/1/180"),  # frames of 2.8 GiB
]


@pytest.mark.parametrize(("kind", "seed"), FOUND)
def test_what_was_found_once(kind: str, seed: str) -> None:
    row = judge_one(kind, JUDGES[kind], seed)
    assert row.clean, row.findings


@pytest.mark.parametrize(
    ("kind", "reader", "planted"),
    [
        ("orders as .npy", "tests.search.arrays.read_order", KeyError),
        ("checkpoints of a replay", "tests.search.models.load_checkpoint", AttributeError),
    ],
)
def test_a_reader_that_raises_is_found(
    kind: str, reader: str, planted: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise planted("planted")

    monkeypatch.setattr(reader, broken)
    row = search(kind, JUDGES[kind], 3, "planted")
    assert (row.crashed, row.clean) == (3, False)
    assert all("planted" in finding.text for finding in row.findings)


def test_a_reader_that_reads_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*given: Any, **options: Any) -> Any:
        return array_from_npy(*given, **options)[..., ::-1]

    monkeypatch.setattr("diagplan.schemas.orders.array_from_npy", other)
    row = search("orders as .npy", JUDGES["orders as .npy"], 100, "planted")
    assert row.different > 3


def test_a_call_that_a_pickle_asks_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader called what the file names, the canary would be there."""
    import pickle
    import zipfile

    def careless(path: Path) -> Any:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            return pickle.loads(archive.read(name))

    monkeypatch.setattr("tests.search.pickles.open_checkpoint", careless)
    row = search("torch checkpoints", JUDGES["torch checkpoints"], 200, "planted")
    assert row.different
    assert any(finding.text == "what the file names was called" for finding in row.findings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", JUDGES)
def test_nothing_is_found(kind: str) -> None:
    row = search(kind, JUDGES[kind], EXAMPLES, SEED)
    assert row.clean, row.findings
    assert 0 < row.accepted < row.inputs
