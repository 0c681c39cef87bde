"""Tables of a study of pictures, from results made by hand."""

import json

import pytest

from diagplan.evaluation.intervals import Interval, interval
from diagplan.planner.errors import DocumentError
from diagplan.study.image_tables import image_csv, image_markdown, image_rows, prompt_lines
from diagplan.study.results import Result


def result(name: str, loss: list[float], *, steps: int, seconds: float, clip: object = None) -> Result:
    """Of four pictures, two of each prompt."""
    curves = {"loss": [[value] for value in loss], "equal_ntp": [[0.25], [0.75], [1.0], [1.0]]}
    return Result(
        id=f"images/{name}", bound={}, plan={"steps": steps}, seconds={"all": seconds, "batch": 2}, curves=curves,
        counted=None, followed=None, single={}, extra={} if clip is None else {"clip": {"of": "x", "values": clip}},
    )  # fmt: skip


RESULTS = {
    "ntp": result("ntp", [1.0, 2.0, 5.0, 7.0], steps=36, seconds=8.0, clip=[20.0, 20.0, 30.0, 30.0]),
    "k=2": result("k=2", [2.0, 2.0, 5.0, 8.0], steps=12, seconds=2.0, clip=[10.0, 20.0, 30.0, 32.0]),
}


def test_a_prompt_counts_once() -> None:
    ntp, two = image_rows(RESULTS, num=2)
    assert (two.passes, two.seconds, two.fewer_passes, two.faster) == (12, 0.5, 3.0, 4.0)
    loss = two.figures["loss"]
    # Two prompts: draws hold one of them twice, or both.
    assert (loss.mean, loss.low, loss.high) == (4.25, 2.0, 6.5)
    assert two.figures["clip"] == interval([15.0, 31.0])
    # One prompt says nothing about others.
    assert image_rows(RESULTS, num=4)[1].figures["loss"] == Interval(mean=4.25, low=None, high=None)
    assert two.figures["loss_more"].mean == 0.5
    assert two.figures["equal_ntp"].mean == 0.75
    assert two.figures["clip_more"].mean == -2.0
    assert ntp.figures["loss_more"].mean == ntp.figures["clip_more"].mean == 0


def test_tables() -> None:
    rows = image_rows(RESULTS, num=2)
    text = image_markdown(rows, {"model": "m"}, prompts=2)
    assert "| `k=2` | 12 | 0.500 | 3.00 | 4.00 | 4.2500 [2.0000, 6.5000] |" in text
    assert "- model: m" in text
    head, first, second, *rest = image_csv(rows).splitlines()
    assert head.startswith("plan,passes,seconds,fewer_passes,faster,loss,loss_low,loss_high")
    assert not rest
    assert (first.split(",")[:2], second.split(",")[:6]) == (
        ["ntp", "36"], ["k=2", "12", "0.5", "3", "4", "4.25"],
    )  # fmt: skip
    bare = {name: result(name, [1.0] * 4, steps=3, seconds=1.0) for name in ("ntp", "k=2")}
    assert "CLIP" not in image_markdown(image_rows(bare, num=1), {}, prompts=4)
    assert image_rows(bare, num=1)[0].as_dict()["figures"]["clip"] == {"mean": None, "low": None, "high": None}


def test_a_line_a_picture() -> None:
    lines = [json.loads(line) for line in prompt_lines(RESULTS, ["a", "a", "b", "b"]).splitlines()]
    assert len(lines) == 4
    assert lines[3] == {
        "picture": 3, "prompt": "b", "plans": {
            "ntp": {"loss": 7.0, "equal_ntp": 1.0, "clip": 30.0}, "k=2": {"loss": 8.0, "equal_ntp": 1.0, "clip": 32.0},
        },
    }  # fmt: skip


@pytest.mark.parametrize("scores", [[1.0], "abcd", [1.0, 2.0, 3.0, "x"], None])
def test_scores_of_other_pictures_are_refused(scores: object) -> None:
    damaged = {"ntp": result("ntp", [1.0] * 4, steps=3, seconds=1.0)}
    damaged["ntp"].extra["clip"] = {"of": "x", "values": scores}  # type: ignore[index]
    with pytest.raises(DocumentError, match="expected a CLIP score of each of 4 pictures under images/ntp"):
        image_rows(damaged, num=1)
