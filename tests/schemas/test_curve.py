"""Cost curves as documents."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.schemas.curve import (
    MAX_CURVE_BYTES,
    CurveGrid,
    CurveModel,
    curve_from_json,
    curve_of,
    read_curve,
    require_curve_for,
    write_curve,
)
from diagplan.schemas.schema import document_schema, schema_text
from tests.support.curves import curve, document

COMMITTED = Path(__file__).parents[2] / "schemas" / "curve.schema.json"
FITS = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = document(shape_seconds=1e-4, static_widths=(1, 4), batch=2)
    write_curve(written, tmp_path / "curve.json")
    again = read_curve(tmp_path / "curve.json")
    assert again == written
    assert curve_of(again) == curve(shape_seconds=1e-4, static_widths=(1, 4), batch=2)
    assert curve_of(document(kind="estimate")).estimate


def test_the_schema_is_committed_and_holds(tmp_path: Path) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema_text("curve")
    write_curve(document(), tmp_path / "curve.json")
    value = json.loads((tmp_path / "curve.json").read_text())
    jsonschema.validate(value, document_schema("curve"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value | {"kind": "guessed"}, document_schema("curve"))


def changed(path: str, value: Any) -> str:
    """A document's JSON with one part replaced, removed (``...``) or added."""
    held: Any = document().model_dump(mode="json")
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    part: Any = held
    for key in way:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return json.dumps(held)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("points.2.seconds", float("nan"), "points.2.seconds: Input should be a finite number."),
        ("points.2.seconds", float("inf"), "points.2.seconds: Input should be"),
        ("points.0.seconds", 0, "points.0.seconds: Input should be greater than 0."),
        ("points.0.seconds", -1, "points.0.seconds: Input should be greater than 0."),
        ("points.0.width", 2, "the top: expected the width 1 at every length"),
        ("points.0.width", 2**40, "points.0.width: Input should be less than or equal to 1073741824."),
        ("points.1.width", 1, "the top: expected one time at each width and length"),
        ("points", [], "points: Tuple should have at least 1 item"),
        ("points", ..., "points: Field required."),
        ("version", 2, "version: Input should be 1."),
        ("format", "diagplan-plan", "format: Input should be 'diagplan-curve'."),
        ("kind", "guessed", "kind: Input should be 'measured' or 'estimate'."),
        ("surplus", 1, "surplus: Extra inputs are not permitted."),
        ("model.positions", 0, "model.positions: Input should be greater than or equal to 1."),
        ("machine", "x" * 201, "machine: String should have at most 200 characters."),
        ("machine", "\x1b[31m", "machine: String should match pattern"),
        ("date", "today", "date: String should match pattern"),
        ("batch", True, "batch: Input should be a valid integer."),
        ("target_seconds", -1.0, "target_seconds: Input should be greater than or equal to 0."),
        ("threads", 0, "threads: Input should be greater than or equal to 1."),
    ],
)
def test_other_documents_get_one_error(path: str, value: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)) as caught:
        curve_from_json(changed(path, value), name="c.json")
    text = str(caught.value)
    assert text.startswith("expected a cost curve of `diagplan measure` in c.json, got one with ")
    assert text.endswith("Measure it again.")
    assert "\n" not in text


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 5000, '"x"', b"\xff\xfe", "{}", '{"points": 1e999}'])
def test_other_texts_get_one_error(text: str | bytes) -> None:
    with pytest.raises(DocumentError, match="expected a cost curve of `diagplan measure` in curve"):
        curve_from_json(text)


def test_large_texts_are_not_parsed() -> None:
    with pytest.raises(DocumentError, match=f"expected a curve of at most {MAX_CURVE_BYTES} bytes in curve"):
        curve_from_json(" " * (MAX_CURVE_BYTES + 1))
    many = json.dumps(document().model_dump(mode="json") | {"points": [{"width": 1, "length": 1, "seconds": 1}] * 5000})
    with pytest.raises(DocumentError, match="Tuple should have at most 4096 items"):
        curve_from_json(many)
    key = changed("x" * 500, 1)
    with pytest.raises(DocumentError) as caught:
        curve_from_json(key)
    assert len(str(caught.value)) < 300


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_no_value_in_the_place_of_points_escapes(value: Any) -> None:
    with pytest.raises(DocumentError):
        curve_from_json(changed("points", value))


def test_files_that_are_not_there_and_names_of_other_formats(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot read"):
        read_curve(tmp_path / "none.json")
    with pytest.raises(SpecError, match=r"expected a name ending in \.json for the curve"):
        write_curve(document(), tmp_path / "curve.csv")
    wrong: Any = 3
    with pytest.raises(SpecError, match="expected path to be a path"):
        read_curve(wrong)


def test_a_curve_of_something_else_is_refused_with_one_error() -> None:
    require_curve_for(
        document(), layout=FITS, fingerprint="ab12", backend="torch", device="cpu", dtype="float32", batch=1
    )
    with pytest.raises(DocumentError) as caught:
        require_curve_for(document(), fingerprint="cd34", device="cuda", dtype="bfloat16", batch=8, threads=None)
    assert str(caught.value) == (
        "expected a cost curve of the same model, device and dtype, got one of crafter-mini with the model ab12 where "
        "cd34 is meant; device cpu where cuda is meant; dtype float32 where bfloat16 is meant; batch 1 where 8 is "
        "meant. "
        "Measure one: diagplan measure."
    )
    with pytest.raises(DocumentError, match="1024 positions where 2217 are needed"):
        require_curve_for(document(), layout=Layout(frames=19, rows=9, cols=12, prompt_frames=1, between_frames=3))


def test_the_grid_of_a_model_made_for_one_counts() -> None:
    grid = CurveGrid(rows=9, cols=12, between_frames=3)
    model = CurveModel(name="m", family="mc-ar", positions=1024, grid=grid)
    require_curve_for(document(model=model), layout=FITS)
    with pytest.raises(DocumentError, match="9 x 12 tokens and 3 between frames where 9 x 11 and 3 are needed"):
        require_curve_for(document(model=model), layout=Layout(frames=1, rows=9, cols=11, lead=1, between_frames=3))
