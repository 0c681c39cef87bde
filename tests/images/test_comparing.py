from typing import Any

import numpy as np
import pytest

from diagplan import Diagonal, LoadOptions, NextToken, ZipAR
from diagplan.backends.errors import CapacityError
from diagplan.backends.memory import Memory
from diagplan.images import comparing
from diagplan.images.comparing import compare_images, comparison_sheet, plan_named
from diagplan.images.job import ImageJob
from diagplan.images.paint import draw_image
from diagplan.planner.errors import SpecError
from diagplan.planner.speculation import Speculation
from tests.support.image_folders import folder_of

pytest.importorskip("transformers")


def test_plans_by_their_names() -> None:
    assert [plan_named(name)[0] for name in ("ntp", " next-token ", "k=4", "zipar=3")] == [
        NextToken(), NextToken(), Diagonal(k=4), ZipAR(window=3),
    ]  # fmt: skip
    assert plan_named("zipar-llamagen=3") == (ZipAR(window=3, variant="llamagen"), None)
    assert plan_named("exact=9") == (NextToken(), Speculation(window=9, draft="above"))
    for wrong in ("k", "k=", "k=x", "k=-1", "d=2", "", "k=1.5", "exact=0"):
        with pytest.raises(SpecError, match="expected a plan out of ntp, exact=N, k=N, zipar=N"):
            plan_named(wrong)


def test_plans_side_by_side() -> None:
    compared = compare_images(
        folder_of("janus-pro"), ["a cat", "dog"], "ntp,k=6,k=2,exact=8", sampling={"greedy": True}
    )
    ntp, whole, two, exact = compared.rows
    assert [row.passes for row in compared.rows][:3] == [36, 36, 16]
    assert exact.passes < 36
    assert np.array_equal(exact.tokens, ntp.tokens)
    assert ntp.same.tolist() == [1, 1]
    # A delay of the whole width is next-token prediction.
    assert np.array_equal(ntp.tokens, whole.tokens)
    assert np.array_equal(ntp.loss, whole.loss)
    assert 0 < two.same.mean() < 1
    assert np.isclose(two.same[0], (two.tokens[0] == ntp.tokens[0]).mean())
    assert (two.loss != ntp.loss).all()
    assert ntp.pictures.shape == (2, 12, 12, 3)
    assert compared.tokens.shape == (4, 2, 6, 6)
    columns, cells = compared.table()
    assert len(columns) == len(cells[0])
    assert [row[0] for row in cells] == ["ntp", "k=6", "k=2", "exact=8"]
    assert cells[2][1] == "16"
    sheet = comparison_sheet(compared)
    assert sheet.shape[1] > 4 * 256


def test_the_estimate_is_of_the_plan_that_takes_most_as_it_is_replayed() -> None:
    model = folder_of("janus-pro")
    asked: list[Memory] = []

    def memory(plans: str, **more: Any) -> Memory:
        asked.clear()
        compare_images(model, "a cat", plans, sampling={"greedy": True}, on_memory=asked.append, **more)
        (one,) = asked
        return one

    drawn: list[Memory] = []
    draw_image(
        model, "a cat", sampling={"greedy": True}, speculation=Speculation(window=32, draft="above"),
        on_memory=drawn.append, pixels=False,
    )  # fmt: skip
    alone = memory("ntp")
    assert memory("ntp,exact=32") == memory("exact=32,k=2") == drawn[0]
    assert drawn[0].total > alone.total


def test_a_chain_is_refused_before_anything_is_loaded() -> None:
    seen: list[str] = []
    with pytest.raises(SpecError, match="expected no speculation for GLM-Image, whose plans are a chain"):
        compare_images(
            folder_of("glm-image"),
            "a cat",
            "ntp,exact=8",
            size=(64, 64),
            on_progress=lambda what, *_: seen.append(what),
        )
    assert seen == []


def test_another_runtime_is_refused() -> None:
    with pytest.raises(SpecError, match="expected the backend torch for a comparison"):
        compare_images(folder_of("janus-pro"), "a", "ntp", options=LoadOptions(backend="onnx"))


def test_more_pictures_than_a_sheet_holds_are_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparing, "_MOST", 3 * 12 * 12 * 5)
    monkeypatch.setattr(ImageJob, "load", lambda _: pytest.fail("loaded"))
    words = "expected at most 5 pictures of 144 pixels on one sheet, got 6: 3 under 2 plans"
    with pytest.raises(CapacityError, match=words) as caught:
        compare_images(folder_of("janus-pro"), "a cat", "ntp,k=2", num=3)
    assert "`diagplan evaluate images`, which holds a few at a time" in str(caught.value)
