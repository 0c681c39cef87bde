"""Trace files: whole again in every packing, refused where they are not what the page says, and bounded."""

import gzip
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.trace import Trace
from diagplan.schemas.trace import read_trace, trace_from_json, trace_to_json, write_trace
from tests.support.invalid_traces import BASE
from tests.support.speculation import speculate
from tests.support.strategies import Request, plans

TEXT = trace_to_json(BASE)
SAMPLED = {"name": "sample", "temperature": 0.5, "top_k": None, "top_p": 0.9, "crossing": "drop", "min_p": None}


@given(plans(frames=2, side=3), st.integers(1, 12), st.sampled_from(("own", "slowest")))
def test_a_trace_comes_back(case: tuple[Request, Plan], width: int, advance: str) -> None:
    trace = speculate(case[1], width=width, numbers=(0, 2**62), advance=advance).trace  # type: ignore[arg-type]
    assert trace_from_json(trace_to_json(trace)) == trace


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": SAMPLED, "seed": 2**63 - 1},
        {"guidance": 3.5},
        {"guidance": (1.5, -0.25, -0.25), "guided_steps": (0, None)},
        {"guidance": 2.0, "guided_steps": (4, 9)},
        {"narrowest": 1, "dtype": "bfloat16"},
    ],
    ids=str,
)
def test_every_field_comes_back(fields: dict[str, Any]) -> None:
    trace = replace(BASE, **fields)
    assert trace_from_json(trace_to_json(trace)) == trace


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz", "trace.json.zst", "trace"])
def test_files(tmp_path: Path, name: str) -> None:
    if name.endswith("zst"):
        pytest.importorskip("zstandard")
    write_trace(BASE, tmp_path / name)
    assert read_trace(tmp_path / name) == BASE
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_pass_a_line() -> None:
    lines = TEXT.splitlines()
    assert '{"first":0,"end":3,"guesses":[[1,1],[2,7]],"chosen":[[1,1],[2,2],[3,8]],"accepted":2},' in lines
    assert lines[-2:] == ['"tokens":[9,1,2,3,4,5,6]}', "]}"]


def changed(path: str, value: object) -> str:
    document = json.loads(TEXT)
    holder: Any = document
    *first, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in first:
        holder = holder[key]
    holder[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("surplus", 1, "surplus: Extra inputs are not permitted"),
        ("samples.0.passes.0.surplus", 1, "samples.0.passes.0.surplus: Extra inputs are not permitted"),
        ("plan", "sha256:0", "plan: String should match pattern"),
        ("sampler", {"name": "beam"}, "sampler: Input tag 'beam' found using 'name' does not match"),
        ("sampler", {"name": "greedy", "temperature": 1.0}, "sampler.greedy.temperature: Extra inputs"),
        ("sampler", {"name": "sample"}, "sampler.sample.temperature: Field required"),
        ("seed", -1, "seed: Input should be greater than or equal to 0"),
        ("seed", 2**63, "seed: Input should be less than"),
        ("seed", "0", "seed: Input should be a valid integer"),
        ("width", 0, "width: Input should be greater than or equal to 1"),
        ("width", True, "width: Input should be a valid integer"),
        ("draft", "a\nb", "draft: Value error, expected printable text"),
        ("advance", "fastest", "advance: Input should be 'own' or 'slowest'"),
        ("guidance", [1.0], "guidance"),
        ("guided_steps", [None, 3], "expected guided_steps as two numbers, got a first of null."),
        ("samples", [], "samples: List should have at least 1 item"),
        ("samples.0.number", 1.0, "samples.0.number: Input should be a valid integer"),
        ("samples.0.passes.0.first", -1, "samples.0.passes.0.first: Input should be greater than or equal to 0"),
        ("samples.0.passes.0.end", 2**31, "samples.0.passes.0.end: Input should be less than or equal to"),
        ("samples.0.passes.0.guesses.0", [1], "samples.0.passes.0.guesses.0: List should have at least 2 items"),
        ("samples.0.passes.0.chosen.0.1", None, "samples.0.passes.0.chosen.0.1: Input should be a valid integer"),
        ("samples.0.tokens.0", -2, "samples.0.tokens.0: Input should be greater than or equal to -1"),
    ],
)
def test_what_is_refused(path: str, value: object, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        trace_from_json(changed(path, value), name="x.json")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected JSON in x.json, got a text that is not"),
        ("[" * 100_000, "expected a trace document in x.json, got JSON nested too deeply."),
        (TEXT.replace('"seed":0', '"seed":0,"seed":1'), "an object has a repeated key"),
        (TEXT.replace('"guidance":null', '"guidance":NaN'), "NaN is not JSON"),
        (TEXT.replace("diagplan-trace", "diagplan-plan"), 'got JSON without "format": "diagplan-trace".'),
        (
            TEXT.replace('"version":1,\n', '"version":2,\n', 1),
            "This diagplan reads version 1. Install the diagplan that wrote it, or replay again with a trace.",
        ),
        (b"\xff\xfe", "expected JSON"),
    ],
)
def test_what_is_no_trace(text: str | bytes, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        trace_from_json(text, name="x.json")
    assert says in str(caught.value)


def test_it_costs_no_more_than_a_plan_may(tmp_path: Path) -> None:
    """Counted in the text, before any of it is parsed; and a file that unpacks to too much is not unpacked."""
    long = TEXT.replace("[[1,1],[2,7]]", "[" + ",".join(["[1,1]"] * 1_800_000) + "]")
    with pytest.raises(DocumentError, match=r"got \d+ lists and objects, .* Trace fewer samples"):
        trace_from_json(long)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * (1 << 25)))
    with pytest.raises(DocumentError, match=r"expected bomb\.json\.gz to unpack to at most \d+ bytes, got more\."):
        read_trace(tmp_path / "bomb.json.gz")


@given(st.binary(max_size=40), st.integers(0, len(TEXT) - 1), st.integers(0, 40))
def test_any_damage_is_one_error_or_a_trace(noise: bytes, at: int, cut: int) -> None:
    data = TEXT.encode()
    with suppress(DocumentError):
        assert isinstance(trace_from_json(data[:at] + noise + data[at + cut :]), Trace)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"The trace comes first: write_trace\(trace, path\)\."):
        write_trace(tmp_path / "trace.json", BASE)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"expected a name ending in \.json, \.json\.gz or \.json\.zst, got x\.txt\."):
        write_trace(BASE, tmp_path / "x.txt")
    with pytest.raises(SpecError, match="path"):
        read_trace(3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="A speculative replay gives one"):
        trace_to_json("trace")  # type: ignore[arg-type]
