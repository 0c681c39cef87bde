"""Jobs: lines of a file, videos of a folder, and what is no job."""

import json
from pathlib import Path
from typing import Any

import pytest

from diagplan.batch.jobs import Job, WrongJob, job_from, job_source, seed_of
from diagplan.planner.errors import DocumentError
from tests.support.batch import write_jobs


def test_lines_are_jobs_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    lines: list[Any] = [{"video": "a.mp4", "actions": "a.jsonl"}, ""]
    lines.append({"id": "x", "tokens": "/t.npy", "seed": 7, "frames": 2})
    source = job_source(write_jobs(tmp_path / "jobs.jsonl", lines))
    shares = [(job, source.share) for job in source]
    assert [job for job, _ in shares] == [
        Job(number=1, id="000000001", video=tmp_path / "a.mp4", actions=tmp_path / "a.jsonl"),
        Job(number=3, id="x", tokens=Path("/t.npy"), seed=7, frames=2),
    ]
    assert 0 < shares[0][1] < shares[1][1] == source.share == 1


def test_a_folder_gives_a_job_for_every_video(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mkv", "a.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    first, second = job_source(tmp_path)
    assert first == Job(number=1, id="a", video=tmp_path / "a.mkv", actions=tmp_path / "a.jsonl")
    assert second == Job(number=2, id="b", video=tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected a job such as"),
        ("[1]", "expected a job such as"),
        ("[" * 5000, "expected a job such as"),
        ({"actions": "a"}, "expected video or tokens in a job, got neither."),
        ({"video": "a", "tokens": "b"}, "expected video or tokens in a job, got both."),
        ({"video": "a", "film": "b"}, "got 'film'. Take it out."),
        ({"video": 3}, "expected video to be text, got video=3."),
        ({"video": "a\0"}, "expected video to be text"),
        ({"video": "a", "id": "../a"}, "expected an id of letters, digits and . _ -"),
        ({"video": "a", "id": "-o"}, "expected an id of letters"),
        ({"video": "a", "seed": -1}, "expected seed to be a whole number from 0, got seed=-1."),
        ({"video": "a", "seed": True}, "expected seed to be a whole number"),
        ({"video": "a", "frames": 0}, "expected frames to be a whole number from 1"),
        ({"video": "a", "text": "x", "context": "y"}, "expected context or text in a job, got both."),
    ],
)
def test_what_is_no_job_is_said_and_harms_no_other(tmp_path: Path, line: Any, message: str) -> None:
    wrong, good = job_source(write_jobs(tmp_path / "jobs.jsonl", [line, {"video": "a"}]))
    assert isinstance(wrong, WrongJob)
    assert wrong.number == 1
    assert message in wrong.message
    assert isinstance(good, Job)


def test_a_wrong_job_is_called_by_its_id(tmp_path: Path) -> None:
    lines: list[dict[str, Any] | str] = [{"video": "a", "id": "left", "frames": -3}, {"id": "../left"}, {"id": 7}]
    wrong = list(job_source(write_jobs(tmp_path / "jobs.jsonl", lines)))
    assert [one.id for one in wrong if isinstance(one, WrongJob)] == ["left", "", ""]


def test_a_file_or_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot read the jobs"):
        job_source(tmp_path / "none.jsonl")
    with pytest.raises(DocumentError, match="expected videos"):
        job_source(tmp_path)


def test_a_video_is_no_file_of_jobs(tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").touch()
    with pytest.raises(DocumentError, match=r"got the video .*clip\.MP4\. Name its folder, or take `diagplan generate"):
        job_source(tmp_path / "clip.MP4")


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    path = write_jobs(tmp_path / "jobs.jsonl", [{"video": "a"}, "x" * (2 << 20)])
    with pytest.raises(DocumentError, match=r"expected lines of at most 1 MiB .* line 2"):
        list(job_source(path))


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"video": "a"}) + "\n")
    jobs = iter(job_source(path))
    next(jobs)
    with path.open("a") as file:
        file.write(json.dumps({"video": "b"}) + "\n")
    assert isinstance(next(jobs), Job)  # it was not there when the first was read


def test_empty_values_are_left_out_and_seeds_differ() -> None:
    assert job_from({"video": "a", "seed": None}, 4, Path("/d")) == Job(number=4, id="000000004", video=Path("/d/a"))
    seeds = {seed_of(seed, name) for seed in range(3) for name in ("a", "b")}
    assert len(seeds) == 6
    assert all(0 <= seed < 1 << 63 for seed in seeds)
