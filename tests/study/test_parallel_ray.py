"""Conditions worked off by actors of Ray, started on this machine: the same results after a kill. `make test-ray`."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
for needed in ("av", "matplotlib", "skimage"):
    pytest.importorskip(needed)

import diagplan.study.whole  # noqa: E402
from diagplan.study.parallel import run_by_workers  # noqa: E402
from diagplan.study.whole import study_plans  # noqa: E402
from tests.packaging.test_layering import ROOT  # noqa: E402
from tests.support.study_work import DYING, differing, small_study  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine; its workers find the tests."""
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )  # fmt: skip
    yield
    ray.shutdown()


def test_results_are_those_of_one_process_though_an_actor_is_killed(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small_study()
    usual: dict[str, Any] = {**options, "only": ["base/k=1", "base/k=2", "base/exact=4"], "samples": 0, "windows": [4]}
    study_plans(out=tmp_path / "one", **usual)
    monkeypatch.setattr(diagplan.study.whole, "run_by_workers", partial(run_by_workers, opener=DYING))
    monkeypatch.chdir(tmp_path)  # names are made whole: an actor begins in another folder
    relative: dict[str, Any] = {
        name: Path(os.path.relpath(value)) if isinstance(value, Path) else value for name, value in usual.items()
    }
    two = study_plans(out="two", workers=2, ray="auto", **relative)
    assert (two.losses, two.run_now) == (1, 4)
    assert differing(tmp_path / "one", tmp_path / "two") == []
    again = study_plans(out="two", workers=2, ray="auto", **relative)
    assert (again.done_before, again.run_now) == (4, 0)
