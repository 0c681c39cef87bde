import numpy as np
import pytest

from diagplan import Diagonal, LoadOptions, NextToken, ZipAR
from diagplan.backends.errors import CapacityError
from diagplan.images import comparing
from diagplan.images.comparing import compare_images, comparison_sheet, plan_named
from diagplan.images.job import ImageJob
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
