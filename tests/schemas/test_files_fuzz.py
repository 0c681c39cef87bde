"""Random edits of plan documents: whatever comes of them is read and verified, or refused with one of our errors."""

import contextlib
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DiagplanError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import well_formed
from diagplan.planner.schedule import Diagonal, Imported
from diagplan.schemas.files import plan_from_json, plan_to_json, write_plan
from diagplan.schemas.verify import verify
from tests.search.documents import scramble

GRID = Layout(frames=1, rows=2, cols=2, lead=1)
PADDED = compile_plan(GRID, Diagonal(k=1), max_width=3, pad=(2,))
IMPORTED = compile_plan(GRID, Imported(steps=[[0, 1], [1, 2]]), max_width=3)
BASES = (
    plan_to_json(PADDED),
    plan_to_json(PADDED, masks="rule"),
    plan_to_json(IMPORTED),
    plan_to_json(IMPORTED, masks="rule"),
)


@given(st.sampled_from(BASES), st.integers(1, 3), st.integers(0, 2**32))
def test_edits_of_the_value_are_read_or_refused(text: str, edits: int, seed: int) -> None:
    document = json.loads(text)
    random = Random(seed)
    for _ in range(edits):
        scramble(document, random)
    read_or_refused(json.dumps(document))


def read_or_refused(text: str | bytes) -> None:
    """Read and verify, or one of our own errors; a plan that was read can be written and read again."""
    with contextlib.suppress(DiagplanError):
        plan = plan_from_json(text)
        verify_plan(plan)
        if well_formed(plan):
            assert plan_to_json(plan_from_json(plan_to_json(plan))) == plan_to_json(plan)


@given(st.sampled_from(BASES), st.data())
def test_edits_of_the_text_are_read_or_refused(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from((b"0", b"]", b",1"))
        )
    read_or_refused(bytes(raw))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_anything_is_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


@given(st.sampled_from((".json", ".json.gz", ".json.zst")), st.integers(0, 2**32))
def test_damaged_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, suffix: str, seed: int) -> None:
    random = Random(seed)
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    if suffix == ".json.zst":
        pytest.importorskip("zstandard")
    write_plan(PADDED, path)
    data = bytearray(path.read_bytes())
    for _ in range(random.randint(1, 3)):
        data[random.randrange(len(data))] = random.randrange(256)
    path.write_bytes(data)
    with contextlib.suppress(DiagplanError):
        verify(path)


@pytest.mark.slow
@given(st.sampled_from(BASES), st.integers(1, 12), st.integers(0, 2**32))
def test_search_edits_of_the_value(text: str, edits: int, seed: int) -> None:
    document = json.loads(text)
    random = Random(seed)
    for _ in range(edits):
        scramble(document, random)
    read_or_refused(json.dumps(document))
