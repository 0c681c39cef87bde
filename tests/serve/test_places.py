"""Where things lie, and that all of a job goes."""

from pathlib import Path

from diagplan.batch.records import place_of
from diagplan.serve.places import ENDINGS, frame_place, jobs_folder, remove_results, results_folder


def test_results_are_removed_and_no_others(tmp_path: Path) -> None:
    results = results_folder(tmp_path)
    places = [place_of(results, name, ending) for name in ("a", "a.b") for ending in ENDINGS]
    places += [frame_place(results, name, number) for name in ("a", "a.b") for number in (1, 12)]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
    remove_results(results, "a")
    assert {place for place in places if place.exists()} == {
        *(place_of(results, "a.b", ending) for ending in ENDINGS),
        *(frame_place(results, "a.b", number) for number in (1, 12)),
    }
    remove_results(results, "a")
    assert jobs_folder(tmp_path) != results
    assert frame_place(results, "a", 1).name == "000001.png"
