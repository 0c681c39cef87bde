"""`diagplan compile`: its schedules, imported orders, and the options it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from diagplan import Diagonal, Layout, compile_plan, read_plan, write_plan
from diagplan.schemas.convert import plan_digest
from tests.support.cli import TINY, run, run_json

COSMOS = ["--model", "cosmos", "--frames", "3", "--prompt-frames", "2", "--k", "2", "--d", "10"]


def test_compile_writes_a_plan_and_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    figures = run_json("compile", *COSMOS, "-o", str(path))
    plan = read_plan(path)
    assert figures["steps"] == plan.steps == 162
    assert figures["tokens"] == 7680
    assert figures["feeds"] == plan.feeds
    assert figures["max_width"] == 96
    assert figures["digest"] == plan_digest(plan) == json.loads(path.read_text())["digest"]
    assert path.stat().st_size <= 8_000_000


def test_compile_prints_a_table() -> None:
    code, out, err = run("compile", *COSMOS)
    assert (code, err) == (0, "")
    assert "162 steps, 7680 tokens" in out
    assert "47.41 x" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (["--schedule", "next-token"], 96),
        (["--window", "2"], 48),
        (["--k", "2"], 48),
        (["--k", "9"], 96),
        (["--k", "2", "--d", "3"], 21),
        (["--k", "2", "--policies", "mineworld-video"], 36),
        (["--k", "2", "--policies", "mineworld-image"], 48),
        (["--window", "2", "--policies", "zipar-llamagen"], 64),
        (["--schedule", "zipar-llamagen", "--window", "2"], 64),
    ],
)
def test_schedules_by_options(options: list[str], steps: int) -> None:
    grid = ["--frames", "4", "--rows", "4", "--cols", "6", "--prompt-frames", "1"]
    assert run_json("compile", *grid, *options)["steps"] == steps


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_imported_order(tmp_path: Path, suffix: str) -> None:
    steps = np.arange(3)[:, None] + np.arange(4)
    path = tmp_path / f"nar{suffix}"
    if suffix == ".npy":
        np.save(path, steps)
    else:
        path.write_text(json.dumps(steps.tolist()))
    out = tmp_path / "plan.json"
    figures = run_json("compile", "--rows", "3", "--cols", "4", "--lead", "1", "--order", str(path), "-o", str(out))
    assert figures["steps"] == 6
    assert figures["schedule"]["label"] == "nar"
    assert run("verify", str(out))[0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[0, 1], [1]]", "nested lists of integers"),
        (b"[[0, 1.5]]", "nested lists of integers"),
        (b"[[1, 1]]", "every step to have a cell"),
        (b"[" * 4000, "nested lists of integers"),
        (b"", "nested lists of integers"),
    ],
)
def test_bad_orders(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "order.json"
    path.write_bytes(content)
    code, out, err = run("compile", "--rows", "1", "--cols", "2", "--lead", "1", "--order", str(path))
    assert code in (1, 2)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_pickled_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "order.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, _, err = run("compile", "--rows", "1", "--cols", "2", "--lead", "1", "--order", str(path))
    assert code == 1
    assert "expected a .npy array of integers" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compile", "--model", "cosmos"], "expected a schedule, got none"),
        (["compile", "--k", "2"], "expected --model, or --rows and --cols"),
        (["compile", "--model", "comsos", "--k", "2"], "expected a model out of cosmos"),
        (["compile", "--model", "cosmos", "--k", "0"], "expected k >= 1, got k=0"),
        (["compile", "--model", "cosmos", "--k", "1", "--d", "-3"], "expected d >= 1, got d=-3"),
        (["compile", "--model", "cosmos", "--k", "1", "--window", "2"], "expected --window or --k"),
        (["compile", "--model", "cosmos", "--k", "1", "--pad", "1,x"], "expected --pad as whole numbers"),
        (["compile", "--model", "cosmos", "--k", "1", "--policies", "none"], "expected --policies to be one of"),
        (["compile", "--model", "cosmos", "--k", "1", "--proxy", "custom"], "expected a named policy"),
        (["compile", "--model", "llamagen-c2i-256", "--k", "1", "--proxy", "prompt"], "expected a prompt frame"),
        (["compile", "--rows", "2", "--cols", "2", "--k", "1"], "expected a given token before the first cell"),
        (["compile", "--model", "cosmos", "--frames", "10000000", "--k", "1"], "expected at most 16777216 slots"),
        (["steps", "--model", "mc-ar", "--k", "1,zwei"], "expected --k as whole numbers"),
        (["prove", "--theorem", "no-such"], "no-such"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args: list[str], message: str) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    value = run_json(*args, code=2)
    assert value["ok"] is False
    assert message in value["error"]


def test_unknown_option_is_wrong_usage() -> None:
    code, out, err = run("compile", "--no-such-option")
    assert (code, out) == (2, "")
    assert "No such option" in err


def test_custom_row_end_still_holds_the_plan_to_its_schedule(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(compile_plan(Layout(frames=1, rows=3, cols=4, lead=1), Diagonal(k=1)), path)
    value = json.loads(path.read_text())
    value["names"]["policies"]["row_end"] = "custom"
    value["names"]["schedule"] |= {"k": 2, "k_in_force": 2, "d_in_force": 8, "steps": 8}
    path.write_text(json.dumps(value))
    assert {"DP502", "DP503"} <= set(run_json("verify", str(path), code=1)["counts"])


@pytest.mark.parametrize("option", ["--k", "--d", "--max-width"])
def test_what_a_document_cannot_hold_is_refused_before(tmp_path: Path, option: str) -> None:
    args = ["--rows", "2", "--cols", "2", "--lead", "1"] + ([] if option == "--k" else ["--k", "1"])
    code, out, err = run("compile", *args, option, "3000000000", "-o", str(tmp_path / "plan.json"))
    assert (code, out) == (2, "")
    assert "<= 2147483647" in err
    assert list(tmp_path.iterdir()) == []


def test_long_plans_stay_quick() -> None:
    """Many small frames, which once took minutes where work grew with frames times frames."""
    from diagplan import Policies, verify

    layout = Layout(frames=3000, rows=2, cols=2, lead=1)
    plan = compile_plan(layout, Diagonal(k=1, d=2), Policies(visibility="causal"))
    assert verify(plan).ok
    assert plan.stats().steps == 2 * 2999 + 3


def test_a_name_that_is_no_plan_file_is_refused(tmp_path: Path) -> None:
    code, _, err = run("compile", *TINY, "-o", str(tmp_path / "plan.yaml"))
    assert code == 2
    assert "expected a name ending in .json" in err
    assert list(tmp_path.iterdir()) == []
