"""Rows of figures with intervals, and their tables."""

import re

import pytest

from diagplan.study.tables import csv_text, markdown, rows_of
from tests.support.study import result


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
