"""Documents that somebody else wrote: each is read, or refused with one DocumentError, in bounded memory."""

import gc
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, Imported
from diagplan.schemas import files, limits
from diagplan.schemas.files import plan_document, plan_from_json, plan_to_json, read_bytes, read_plan
from tests.support.documents import EXPLICIT, RULE, SMALL, Document, edited, put
from tests.support.hostile_documents import HOSTILE, cost_of_reading

IMPORTED = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Imported(steps=[[0, 1], [1, 2]]), max_width=3)
DEEP = 100_000


# Whatever stands where JSON should.
NOT_DOCUMENTS: dict[str, str | bytes] = {
    "empty": "",
    "blank": " \n",
    "binary": b"\x00\xff\xfe\x80\x81 garbage",
    "not UTF-8": EXPLICIT.encode().replace(b"diagplan", b"diagpl\xe4n", 2),
    "cut": EXPLICIT[: len(EXPLICIT) // 2],
    "twice": EXPLICIT + EXPLICIT,
    "a number": "17",
    "null": "null",
    "a list": f"[{EXPLICIT}]",
    "another format": put("format", "onnx"),
    "no format": edited(lambda document: document.pop("format")),
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "deep list in a plan": EXPLICIT.replace('"given":[[0,1]]', '"given":' + "[" * DEEP + "]" * DEEP),
    "NaN": EXPLICIT.replace('"max_width":3', '"max_width":NaN'),
    "Infinity": EXPLICIT.replace('"max_width":3', '"max_width":-Infinity'),
    "key twice": EXPLICIT.replace('"version":1,\n', '"version":1,"version":1,\n'),
    "key twice inside": EXPLICIT.replace('"lead":1', '"lead":1,"lead":1'),
    "10,000 digits": EXPLICIT.replace('"max_width":3', '"max_width":' + "9" * 10_000),
}


@pytest.mark.parametrize("name", NOT_DOCUMENTS)
def test_not_a_document(name: str) -> None:
    with pytest.raises(DocumentError, match=r"^expected (JSON|a plan document) in x\.json, got .+\.$"):
        plan_from_json(NOT_DOCUMENTS[name], name="x.json")


@pytest.mark.parametrize("version", [0, 2, -1, 10**100, "1", None, [], {}, "x" * 10**5])
def test_other_versions(version: object) -> None:
    with pytest.raises(DocumentError, match=r"^expected version 1 in plan, got version=") as caught:
        plan_from_json(put("version", version))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            put("steps.1.rows.0", [0, 1, 3]),
            "expected an even count of numbers (start, end, ...), got 3 in row of feed 2.",
        ),
        (
            put("masks.listed", [{"feed": 0, "runs": [1]}], RULE),
            "expected an even count of numbers (start, end, ...), got 1 in row of feed 0.",
        ),
        (
            put("masks.listed", [{"feed": 99, "runs": []}], RULE),
            f"expected listed rows of feeds below {SMALL.feeds}, got a larger feed number.",
        ),
        *(
            (
                put("masks.listed", [{"feed": a, "runs": []}, {"feed": b, "runs": []}], RULE),
                "expected masks.listed in rising order of feeds, got another order.",
            )
            for a, b in ((1, 1), (2, 1))
        ),
        (
            put("layout", json.loads(EXPLICIT)["layout"] | {"lead": 0}),
            (
                "the plan's layout is not valid: expected a given token before the first cell, got lead=0 and "
                "prompt_frames=0. The first token has nothing to be predicted from. Give prompt_frames >= 1 or "
                "lead >= 1."
            ),
        ),
    ],
)
def test_refused_by_its_content(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        plan_from_json(text)
    assert str(caught.value) == message


BIG = 2**31 - 1
TINY = plan_to_json(compile_plan(Layout(frames=1, rows=1, cols=2, lead=1), Diagonal(k=1), max_width=1), masks="rule")
ORDER = plan_to_json(IMPORTED, masks="rule")
NUMBERS_OUT_OF_PROPORTION = {
    "positions": put("positions", 1 << 24, TINY),
    "cache slots": put("cache.slots", 1 << 26, TINY),
    "layout frames": put("layout.frames", (1 << 23) - 1, TINY),
    "layout lead": put("layout.lead", (1 << 24) - 3, TINY),
    "layout rows": put("layout.rows", 1 << 22, TINY),
    "layout between frames": put("layout.between_frames", BIG, TINY),
    "layout prompt frames": put("layout.prompt_frames", 1 << 22, TINY),
    "given": put("given", [[0, BIG]], TINY),
    "given backwards": put("given", [[BIG, 0]], TINY),
    "source": put("steps.0.source.0", BIG, TINY),
    "slot": put("steps.0.slot.0", BIG, TINY),
    "target": put("steps.0.target.0", BIG, TINY),
    "trash": put("cache.trash", BIG, TINY),
    "max_width": put("max_width", BIG, TINY),
    "delay": put("names.schedule.k", BIG, TINY),
    "delay in force": put("names.schedule.d_in_force", BIG, TINY),
    "steps": put("names.schedule.steps", BIG, TINY),
    "order": put("names.schedule.order.3", BIG, ORDER),
    "order all": put("names.schedule.order", [BIG] * 4, ORDER),
    "a listed run": put("masks.listed", [{"feed": 0, "runs": [0, BIG]}], TINY),
    "listed runs": put("masks.listed", [{"feed": 0, "runs": [0, BIG] * 20}], TINY),
    "a listed feed": put("masks.listed", [{"feed": BIG, "runs": []}], TINY),
    "an explicit run": put("steps.1.rows.0", [0, BIG]),
}


@pytest.mark.parametrize("name", NUMBERS_OUT_OF_PROPORTION)
def test_a_small_file_takes_little_memory(name: str) -> None:
    text = NUMBERS_OUT_OF_PROPORTION[name]
    assert len(text) < 2000
    verify_plan(plan_from_json(TINY))  # what is loaded at the first call does not count
    tracemalloc.start()
    try:
        report = verify_plan(plan_from_json(text))
        assert not report.ok or name == "max_width"
    except DocumentError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # The checker looks at 2^24 mask bits at a time; a file of this size needs none of that.
    assert peak < 4_000_000


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def packed(suffix: str, data: bytes) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data)
    result: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    return result


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_broken_archives(tmp_path: Path, suffix: str) -> None:
    whole = packed(suffix, EXPLICIT.encode())
    assert read_plan(write(tmp_path / f"whole.json{suffix}", whole)).feeds == SMALL.feeds
    with pytest.raises(DocumentError):
        read_plan(write(tmp_path / f"empty.json{suffix}", b""))
    pieces = [
        whole[:3],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\0" * 40,
        EXPLICIT.encode(),
        whole[:20] + b"\xff" * 50,
    ]
    for i, piece in enumerate(pieces):
        with pytest.raises(DocumentError, match=rf"^expected (gzip|zstd) data in {i}\.json{suffix}, got a .+\.$"):
            read_plan(write(tmp_path / f"{i}.json{suffix}", piece))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("filling", [b" ", b"0,", b"["])
def test_archives_that_unpack_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, filling: bytes
) -> None:
    monkeypatch.setattr(files, "SMALL_BYTES", 1 << 20)
    monkeypatch.setattr(files, "MAX_EXPANSION", 20)
    bomb = write(tmp_path / f"bomb.json{suffix}", packed(suffix, filling * (1 << 23)))
    assert bomb.stat().st_size < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(
            DocumentError, match=r"^expected bomb\.json\.\w+ to unpack to at most \d+ bytes, got more\.$"
        ):
            read_plan(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_files_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", len(EXPLICIT) - 1)
    for name in ("plan.json", "plan.json.gz"):
        data = EXPLICIT.encode() if name == "plan.json" else packed(".gz", EXPLICIT.encode())
        path = write(tmp_path / name, data)
        with pytest.raises(
            DocumentError, match=rf"^expected a text of at most \d+ bytes in {name}, got {len(EXPLICIT)}\. "
        ):
            read_plan(path)
        with pytest.raises(
            DocumentError, match=r"^expected (a file|plan\.json\.gz to unpack).* at most \d+ bytes, got "
        ):
            read_bytes(path, most=len(EXPLICIT) - 1)
        assert read_bytes(path, most=len(EXPLICIT)) == EXPLICIT.encode()


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    inside = write(tmp_path / "file", b"") / "plan.json"
    for path in (tmp_path, tmp_path / "none.json", loop, inside, tmp_path / ("x" * 300), tmp_path / "nul\0.json"):
        with pytest.raises(DocumentError, match=r"^cannot read .+\. Check the name and the permissions\.$"):
            read_plan(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_files_without_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "plan.json", EXPLICIT.encode())
    path.chmod(0)
    with pytest.raises(
        DocumentError, match=r"^cannot read .+: Permission denied\. Check the name and the permissions\.$"
    ):
        read_plan(path)


def test_bytes_are_read_as_utf_8() -> None:
    document: Document = json.loads(EXPLICIT)
    document["producer"]["name"] = "Größe \u2028 \U0001f600"
    data = json.dumps(document, ensure_ascii=False).encode()
    assert not data.isascii()
    assert plan_document(data).producer.name == "Größe \u2028 \U0001f600"
    with pytest.raises(DocumentError, match=r"^expected JSON in plan, got what is no text\.$"):
        plan_document(data.decode().replace("\u2028 \U0001f600", "").encode("latin-1"))


# Documents of up to 64 MiB that are as expensive as they can be: read or refused in a process of its own.

ALWAYS = (
    "arrays, packed", "keys", "a million keys", "strings", "dearest listed", "rows that follow the rule",
    "trace of dearest guesses",
)  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux how much memory was taken")
@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE]
)
def test_the_most_expensive_documents_stay_within_the_budget(name: str) -> None:
    """A gigabyte is the budget. Of the time, 5 s on an idle machine, a test can only say: not long."""
    cost = cost_of_reading(name, limit_bytes=2 << 30)
    assert cost.mebibytes < 1024, cost
    assert cost.seconds < 20, cost
    assert len(cost.says) < 2000


@pytest.mark.parametrize("key", ["a" * 10**6, "\x1b[31m red", "two\nlines"])
def test_a_key_of_anything_is_shown_in_short(key: str) -> None:
    with pytest.raises(DocumentError, match=r"^expected a valid plan document in plan, got 1 problem\(s\): ") as caught:
        plan_from_json(edited(lambda document: document.update({key: 0})))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_the_collector_of_garbage_is_left_as_it_was() -> None:
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            plan_document(EXPLICIT)
            assert gc.isenabled() == enabled
            with pytest.raises(DocumentError):
                plan_document("[")
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
