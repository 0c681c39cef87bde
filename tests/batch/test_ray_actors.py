"""Workers on Ray, started on this machine: the same clips, after a kill too. `make test-ray` installs Ray."""

import importlib.util
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diagplan.batch import Recipe, run_batch
from diagplan.planner.errors import MissingExtraError
from tests.packaging.test_layering import ROOT
from tests.support.batch import STUB, write_jobs

WITHOUT = importlib.util.find_spec("ray") is None
if WITHOUT and os.environ.get("DIAGPLAN_RAY") == "required":
    raise ImportError("expected Ray, got none; make test-ray installs it in build/ray.")


@pytest.mark.skipif(not WITHOUT, reason="Ray is installed")
def test_without_ray_its_extra_is_named(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path / "jobs.jsonl", [{"video": "v"}])
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'diagplan[batch]'")):
        run_batch(jobs, tmp_path / "out", Recipe(), ray="local", opener=STUB)


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


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::UserWarning")


def test_faults_of_workers_and_of_jobs(cluster: None, tmp_path: Path) -> None:
    texts = (None, "wrong", None, "kill once", None, "kill", "raise", None)
    entries = [{"id": f"j{i}", "video": "v"} | ({} if text is None else {"text": text}) for i, text in enumerate(texts)]
    jobs = write_jobs(tmp_path / "jobs.jsonl", entries)
    summary = run_batch(jobs, tmp_path / "out", Recipe(batch=2), workers=2, ray="auto", opener=STUB)
    assert (summary.clips, summary.there, summary.wrong) == (5, 0, 3)
    assert summary.losses >= 7
    text = (tmp_path / "out" / "errors.jsonl").read_text()
    assert "expected a clip, got none." in text
    assert "LookupError: a fault" in text
    again = run_batch(jobs, tmp_path / "out", Recipe(batch=2), workers=1, ray="auto", max_errors=0, opener=STUB)
    assert (again.there, again.wrong, again.stopped) == (1, 1, True)


def test_clips_are_those_of_one_process_though_an_actor_is_killed(cluster: None, tmp_path: Path) -> None:
    for name in ("torch", "av", "safetensors"):
        pytest.importorskip(name)
    from tests.support.batch import outputs, small_batch

    jobs, recipe = small_batch(tmp_path, 6)
    one = run_batch(jobs, tmp_path / "one", recipe)
    assert (one.clips, one.wrong) == (6, 1)

    def kill() -> None:
        while not list((tmp_path / "two").rglob("*.npy")):
            time.sleep(0.02)
        for place in Path("/proc").iterdir():
            if place.name.isdigit() and (place / "cmdline").read_bytes().startswith(b"ray::Station"):
                os.kill(int(place.name), signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    two = run_batch(jobs, tmp_path / "two", recipe, workers=2, ray="auto")
    killer.join()
    assert (two.clips, two.wrong, two.losses) == (6, 1, 1)
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
