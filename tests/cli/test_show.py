"""`diagplan show`."""

from pathlib import Path

from diagplan import write_plan
from diagplan.schemas.trace import write_trace
from tests.support.cli import damaged, run, run_json
from tests.support.invalid_traces import BASE, PLAN, with_pass


def test_show_prints_the_steps(tiny: Path) -> None:
    code, out, err = run("show", str(tiny))
    assert (code, err) == (0, "")
    for row in ("0  1  2  3", "1  2  3  4", "2  3  4  5"):
        assert row.split() in [line.split()[-4:] for line in out.splitlines()]
    value = run_json("show", str(tiny))
    assert value["frames"] == [[[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]]


def test_show_writes_pictures(tiny: Path) -> None:
    names = {suffix: str(tiny.with_name(f"wave.{suffix}")) for suffix in ("png", "svg", "gif")}
    code, out, _ = run("show", str(tiny), *(part for suffix, name in names.items() for part in (f"--{suffix}", name)))
    assert code == 0
    assert all(Path(name).stat().st_size > 100 for name in names.values())
    assert all(f"wrote {name}" in out for name in names.values())
    assert run("show", str(tiny), "--png", "wave.svg")[0] == 2


def test_show_refuses_a_step_that_is_not_there(tiny: Path) -> None:
    assert run("show", str(tiny), "--step", "6", "--json")[0] == 2
    assert run("show", str(tiny), "--feed", "0")[0] == 2


def test_show_says_that_a_plan_is_not_valid(tiny: Path) -> None:
    assert "is not valid" not in run("show", str(tiny))[1]
    assert "damaged.json is not valid" in run("show", str(damaged(tiny)))[1]
    assert run_json("show", str(tiny.with_name("damaged.json")))["ok"] is False


def test_no_line_is_wrapped_in_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert run("compile", "--model", "mc-ar", "--frames", "2", "--k", "2", "-o", path)[0] == 0
    lines = run("show", path, "--step", "30")[1].splitlines()
    (feed,) = [line for line in lines if line.split()[:2] == ["1", "predictor"]]
    assert feed.count("frame 0 row 4 col 2") == 3
    assert "(its proxies and late tokens" not in feed
    assert max(map(len, lines)) > 80


def test_show_writes_a_page(tiny: Path) -> None:
    page = tiny.with_name("wave.html")
    code, out, _ = run("show", str(tiny), "--html", str(page), "--against", str(tiny))
    assert code == 0
    assert f"wrote {page}" in out
    assert f"{tiny.name}: " in page.read_text()
    assert run_json("show", str(tiny), "--html", str(page))["written"] == [str(page)]
    assert run("show", str(tiny), "--against", str(tiny))[0] == 2
    assert run("show", str(tiny), "--html", str(tiny.with_name("wave.png")))[0] == 2


def test_show_a_trace(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    write_trace(BASE, tmp_path / "trace.json")
    paths = (tmp_path / "plan.json", "--trace", tmp_path / "trace.json")
    figures = run_json("show", *paths, "--svg", tmp_path / "trace.svg")
    assert figures["frames"] == [[[0, 0, 1], [2, 2, 2]]]
    assert figures["by_pass"][1] == {"pass": 1, "fed": 3, "accepted": 1, "guessed_wrong": 1, "right_behind": 1}
    assert (figures["steps"], figures["passes"], figures["tokens_a_pass"], figures["ok"]) == (6, 3, 2.0, True)
    assert figures["written"] == [str(tmp_path / "trace.svg")]
    assert (tmp_path / "trace.svg").is_file()
    code, out, _ = run("show", *paths)
    assert code == 0
    assert "trace.json: 6 steps in 3 passes, 2.0 tokens a pass" in out


def test_show_a_trace_that_is_not_valid(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    write_trace(with_pass(2, guesses={4: 4, 5: 9}), tmp_path / "trace.json")
    paths = (tmp_path / "plan.json", "--trace", tmp_path / "trace.json")
    assert "trace.json is not valid: DT105, 1 time(s). `diagplan verify-trace` lists all." in run("show", *paths)[1]
    code, _, err = run("show", *paths, "--step", 1)
    assert code == 2
    assert "expected --step or --trace, got both, --step 1. Leave one out." in " ".join(err.split())
    assert run("show", *paths, "--sample", 1)[0] == 2
