"""Times that are measured when all conditions are done."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
for needed in ("av", "skimage"):
    pytest.importorskip(needed)

from diagplan.study.conditions import all_conditions, select  # noqa: E402
from diagplan.study.results import StudyFolder, untimed  # noqa: E402
from diagplan.study.run import run_study  # noqa: E402
from diagplan.study.setup import set_up, settings_of  # noqa: E402
from diagplan.study.timing import time_again, timing_work  # noqa: E402
from tests.support.study_work import small_study  # noqa: E402


def test_conditions_without_times_get_them_and_others_keep_what_they_had(tmp_path: Path) -> None:
    study = replace(set_up(**small_study()), repeats=3)
    folder = StudyFolder(tmp_path / "out", settings_of(study))
    conditions = select(all_conditions(3, 4), ["base/k=1", "base/exact=4"])
    before, _ = run_study(replace(study, repeats=0), folder, conditions)
    assert [one.seconds for one in before.values()] == [untimed()] * 3
    told: list[float] = []
    after = time_again(study, folder, conditions, before, on_work=told.append)
    assert sum(told) == timing_work(study, before, conditions)
    assert {id_: {name: len(times) for name, times in one.seconds.items()} for id_, one in after.items()} == {
        "base/ntp": {"single": 3},
        "base/exact=4": {"clips": 2},  # every clip once
        "base/k=1": {"single": 3},
    }
    for id_, one in after.items():
        assert one == folder.read(id_, study.bound("base"))
        assert replace(one, seconds={}) == replace(before[id_], seconds={})
        assert min(np.concatenate(list(one.seconds.values()))) > 0
    held = replace(after["base/k=1"], seconds={"single": [9.0], "batched": 5.0, "batch": 2})
    again = time_again(replace(study, repeats=1), folder, conditions[-1:], {"base/k=1": held})["base/k=1"].seconds
    assert {**again, "single": len(again["single"])} == {"single": 1, "batched": 5.0, "batch": 2}
    assert again["single"] != [9.0]
