"""Where things lie in a spool. Names of files are made of ids that were checked, and of nothing else that came in."""

import shutil
from contextlib import suppress
from pathlib import Path

from diagplan.batch.records import place_of

__all__ = ["ENDINGS", "frame_place", "jobs_folder", "remove_results", "results_folder"]

#: What a finished clip may leave, the record first: without it the clip is not finished.
ENDINGS = (".json", ".npy", ".mp4")


def jobs_folder(spool: Path) -> Path:
    """The folder of the jobs and of their inputs."""
    return spool / "jobs"


def results_folder(spool: Path) -> Path:
    """The folder of what is made, laid out as that of ``diagplan batch``."""
    return spool / "results"


def frame_place(results: Path, name: str, number: int) -> Path:
    """The PNG of a generated frame, from 1."""
    return results / "frames" / name / f"{number:06d}.png"


def remove_results(results: Path, name: str) -> None:
    """Remove what was made for a job, as far as it is there."""
    for ending in ENDINGS:
        with suppress(OSError):
            place_of(results, name, ending).unlink()
    shutil.rmtree(frame_place(results, name, 1).parent, ignore_errors=True)
