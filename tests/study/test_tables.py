"""Rows of figures with intervals, and their tables."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from diagplan.evaluation.intervals import Interval
from diagplan.study.results import untimed
from diagplan.study.tables import FIGURES, csv_text, markdown, rows_of
from tests.support.study import exact_result, result


def test_rows_are_means_over_clips() -> None:
    rows = rows_of({"base/ntp": result("base/ntp", loss=1.0), "base/k=2": result("base/k=2", loss=1.5)})
    row = rows[1]
    assert (row.step, row.seconds, row.fps, row.tp, row.faster) == (10, 2.0, 1.0, 10.0, 1.0)
    assert row.figures["loss"].mean == pytest.approx(1.5 + (0.05 + 0.25 + 0) / 3)
    more = row.figures["loss_more"]
    assert (more.low, more.mean, more.high) == pytest.approx((0.5, 0.5, 0.5))  # paired: the clips' spread is gone
    assert row.figures["followed"].mean == 0.75  # of all moves, not the mean of shares
    assert row.single == {"frechet_tokenizer": 0.5, "fvd": 7.0}
    text = markdown(rows, {"model": "m"}, [], [], clips=3)
    assert re.search(r"^\| `k=2` \| 10 \| 2\.000 \| 1\.00 \| 10 \|", text, re.MULTILINE)
    lines = csv_text(rows).splitlines()
    assert len({line.count(",") for line in lines}) == 1
    assert lines[0].endswith("frechet_tokenizer,fvd")


def test_an_exact_row_has_means_over_clips_and_a_table_of_its_own() -> None:
    ntp = result("base/ntp", loss=1.0)
    rows = rows_of({"base/ntp": ntp, "base/exact=36": exact_result("base/exact=36", ntp)})
    row, exact = rows[1], rows[1].exact
    assert rows[0].exact is None
    assert exact is not None
    assert (row.step, row.seconds, row.fewer_passes, row.faster) == (3.0, 0.5, 10 / 3, 4.0)
    assert (exact.window, exact.draft, exact.most_passes) == (36, "previous-frame", 5)
    assert exact.passes.mean == 3
    assert exact.passes.low is not None
    assert 2 <= exact.passes.low < 3
    assert exact.tokens == pytest.approx(20 / 3)  # of 20 tokens a clip
    assert row.figures == rows[0].figures
    text = markdown(rows, {"model": "m"}, [], [], clips=3)
    assert re.search(r"^\| `exact=36` \| 3\.0 \| 0\.500 \|", text, re.MULTILINE)
    (line,) = [line for line in text.splitlines() if line.startswith("| `base/exact=36` |")]
    assert line.split(" | ")[1:5] == ["36", "previous-frame", exact_passes(text), "5"]
    assert line.endswith(" | 4.00 |")
    assert csv_text(rows).splitlines()[2].startswith("base/exact=36,3,0.5,")
    assert json.loads(json.dumps(row.as_dict()))["exact"]["passes"]["mean"] == 3
    assert "## Exact" not in markdown(rows[:1], {"model": "m"}, [], [], clips=3)


def test_times_that_were_not_measured_are_dashes_and_the_tables_say_why() -> None:
    ntp = result("base/ntp", loss=1.0)
    made = {"base/ntp": ntp, "base/k=2": result("base/k=2", loss=1.5)}
    made["base/exact=36"] = exact_result("base/exact=36", ntp)
    bare = {id_: replace(one, seconds=untimed()) for id_, one in made.items()}
    rows = rows_of(bare)
    assert [(row.seconds, row.fps, row.tp, row.faster) for row in rows] == [(None,) * 4] * 3
    assert [(row.step, row.fewer_passes) for row in rows] == [(10, 1.0), (10, 1.0), (3.0, 10 / 3)]
    text = markdown(rows, {}, [], [], clips=3)
    assert "Times are left out (-) where several workers ran conditions at once" in text
    assert re.search(r"^\| `k=2` \| 10 \| - \| - \| - \| 1\.00 \| - \|", text, re.MULTILINE)
    assert re.search(r"^\| `base/exact=36` \| .* \| 6\.7 \| - \| - \|$", text, re.MULTILINE)
    assert csv_text(rows).splitlines()[2].startswith("base/k=2,10,,,,1,,")
    assert json.loads(json.dumps(rows[2].as_dict()))["exact"]["seconds"]["mean"] is None
    mixed = rows_of({**bare, "base/k=2": result("base/k=2", loss=1.5)})  # run again, alone
    assert [(row.seconds, row.faster) for row in mixed] == [(None, None), (2.0, None), (None, None)]
    assert "Times are left out" not in markdown(rows_of({"base/ntp": ntp}), {}, [], [], clips=3)


def exact_passes(text: str) -> str:
    """The cell of passes in the table of exact conditions."""
    found = re.search(r"previous-frame \| (3\.0 \[2\.0, [345]\.0\]) \|", text)
    assert found is not None
    return found[1]


def test_a_figure_is_shown_with_its_interval_and_scale() -> None:
    share = FIGURES["equal_truth"]
    assert share.shown(Interval(mean=0.5, low=0.25, high=0.755)) == "50.00 [25.00, 75.50]"
    assert share.shown(Interval(mean=0.5, low=None, high=None)) == "50.00"
    assert share.shown(Interval(mean=None, low=None, high=None)) == share.number(None) == "-"


def test_a_table_leaves_out_what_nobody_has() -> None:
    """No moves that could be followed: no column; an extra figure of one row only: a dash in the others."""
    plain = {id_: replace(result(id_, loss=1.0), counted=None, followed=None) for id_ in ("base/ntp", "t/k=2")}
    plain["t/k=2"] = replace(plain["t/k=2"], extra={})
    rows = rows_of(plain)
    assert rows[0].figures["followed"].mean is None
    text = markdown(rows, {"model": "m"}, [("proxy", "above", rows[1].figures["loss"])], [], clips=3)
    assert "moves" not in text
    assert text.startswith("# The study\n\n- model: m\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## base",
        "## t",
        "## What each policy does",
    ]
    (line,) = [line for line in text.splitlines() if line.startswith("| `k=2` |")]
    assert line.endswith("| 0.5 | - |")
    table = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [(row["condition"], row["fvd"], row["followed"]) for row in table] == [
        ("base/ntp", "7", ""),
        ("t/k=2", "", ""),
    ]
    assert float(table[0]["loss_low"]) <= float(table[0]["loss"]) <= float(table[0]["loss_high"])


def test_a_row_is_written_as_json() -> None:
    (row,) = rows_of({"base/ntp": result("base/ntp", loss=1.0)})
    back = json.loads(json.dumps(row.as_dict()))
    assert back["figures"]["loss"] == {"mean": row.figures["loss"].mean, "low": 1.0, "high": pytest.approx(1.25)}
    assert (back["id"], back["single"]) == ("base/ntp", {"frechet_tokenizer": 0.5, "fvd": 7.0})
