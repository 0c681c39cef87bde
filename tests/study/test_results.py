"""Results come back from the study's folder; strangers are refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.planner.errors import DocumentError
from diagplan.study.results import StudyFolder, untimed
from tests.support.study import exact_result, result


def test_results_come_back_and_strangers_are_refused(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s", {"seed": 0, "tuned": {}})
    one = result("base/k=2", loss=1.0)
    assert folder.read("base/k=2", {"seed": 0}) is None
    folder.write(one)
    assert folder.read("base/k=2", {"seed": 0}) == one
    with pytest.raises(DocumentError, match="with other seed"):
        folder.read("base/k=2", {"seed": 1})
    path = tmp_path / "s" / "conditions" / "base" / "k=2.json"
    shutil.copy(path, path.with_name("k=4.json"))
    with pytest.raises(DocumentError, match="with other id"):
        folder.read("base/k=4", {"seed": 0})
    for text, said in (("{", "a JSON object"), ("{}", "Remove it to run the condition")):
        path.write_text(text)
        with pytest.raises(DocumentError, match=said):
            folder.read("base/k=2", {"seed": 0})
    with pytest.raises(DocumentError, match="cannot read the tokens"):
        folder.read_tokens("base/k=2")
    tokens = np.arange(24).reshape(1, 2, 3, 4)
    folder.write_tokens("base/k=2", tokens)
    np.testing.assert_array_equal(folder.read_tokens("base/k=2"), tokens)
    assert replace(one, id="x") != one


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bound", [["seed", 0]]),
        ("single", None),
        ("seconds", 3),
        ("counted", 7),
        ("followed", [1, "2"]),
        ("curves", {"loss": [[1.0, 2.0], [1.0]]}),
        ("curves", {"loss": [[1.0, 2.0]], "ssim": [[1.0]]}),
        ("curves", {"loss": 1.0}),
        ("curves", {"loss": [[1.0, "nan"]]}),
        ("curves", {"loss": [[10**400]]}),
        ("more", 1),
        ("seconds", {}),
        ("seconds", {"batched": 3.0, "batch": 2}),
        ("seconds", {"measured": True}),
        ("seconds", {"measured": False, "batch": 2}),
        ("seconds", {"single": []}),
        ("seconds", {"single": [1.0, "2"]}),
        ("seconds", {"single": [0.0]}),
        ("seconds", {"single": [float("nan")]}),
        ("passes", [2, 2, 5]),
        ("passes", "many"),
        ("plan", {"tokens": 20}),
        ("plan", {"steps": 0, "tokens": 20}),
    ],
)
def test_what_is_no_result_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, {"seed": 0, "tuned": {}})
    folder.write(result("base/k=2", loss=1.0))
    path = folder.path("base/k=2", ".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(DocumentError, match="expected the result of base/k=2, got"):
        folder.read("base/k=2", {"seed": 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", {"single": [1.0, 2.0]}),
        ("seconds", {"clips": [0.25, 0.5]}),
        ("seconds", {"clips": 3}),
        ("seconds", {"clips": [0.25, 0.5, None]}),
        ("passes", []),
        ("passes", [2, 0, 5]),
        ("passes", [2, 2, 5, 5]),
        ("plan", {"steps": 3.0, "tokens": 20}),
        ("plan", {"steps": 3.0, "tokens": 20, "speculation": {"window": 0}}),
        ("plan", {"steps": 3.0, "tokens": 20, "speculation": {"width": 9}}),
        ("plan", {"steps": 3.0, "tokens": 20, "speculation": 36}),
    ],
)
def test_what_is_no_exact_result_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, {"seed": 0, "tuned": {}})
    one = exact_result("base/exact=36", result("base/ntp", loss=1.0))
    folder.write(one)
    assert folder.read("base/exact=36", {"seed": 0}) == one
    path = folder.path("base/exact=36", ".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(DocumentError, match=r"expected the result of base/exact=36, got .* Remove it to run"):
        folder.read("base/exact=36", {"seed": 0})


def test_times_may_be_left_out(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, {"seed": 0, "tuned": {}})
    ntp = result("base/ntp", loss=1.0)
    assert ntp.timed
    for one in (ntp, exact_result("base/exact=36", ntp)):
        bare = folder.write(replace(one, seconds=untimed()))
        assert folder.read(one.id, {"seed": 0}) == bare
        assert not bare.timed


def test_settings_whose_labels_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"seed": 0, "tuned": ["a"]}))
    with pytest.raises(DocumentError, match=r"expected tuned models by label in .*, got list"):
        StudyFolder(tmp_path, {"seed": 0, "tuned": {}})


def test_tokens_of_another_kind_are_refused(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, {"seed": 0, "tuned": {}})
    folder.write_tokens("base/ntp", np.arange(24).reshape(1, 2, 3, 4))
    path = folder.path("base/ntp", ".npz")
    for tokens in (np.zeros((1, 2, 3, 4)), np.arange(24)):
        np.savez(path, tokens=tokens)
        with pytest.raises(DocumentError, match=r"cannot read the tokens .*expected tokens \[N, T, rows, cols\], got"):
            folder.read_tokens("base/ntp")


def test_what_is_written_is_what_a_run_that_goes_on_reads(tmp_path: Path) -> None:
    """Tables and plots of a study that was interrupted are those of one that was not, to the last digit."""
    folder = StudyFolder(tmp_path, {"tuned": {}})
    made = result("base/ntp", loss=1 / 3)
    assert folder.write(made) == folder.read("base/ntp", made.bound)
