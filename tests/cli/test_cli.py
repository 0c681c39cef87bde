"""The command line as its users meet it: output, exit codes, one JSON object, one-line errors."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diagplan import Diagonal, Layout, compile_plan, write_plan
from diagplan.cli import app

TINY = ["--rows", "3", "--cols", "4", "--lead", "1", "--k", "1"]


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def run_json(*args: str, code: int = 0) -> dict[str, Any]:
    exit_code, out, _ = run(*args, "--json")
    assert exit_code == code
    assert out.endswith("\n")
    assert out.count("\n") == 1
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    assert run("compile", *TINY, "-o", str(path))[0] == 0
    return path


def damaged(path: Path) -> Path:
    value = json.loads(path.read_text())
    value["steps"][2]["source"][0] = 11
    other = path.with_name("damaged.json")
    other.write_text(json.dumps(value))
    return other


@pytest.mark.parametrize("command", [["verify"], ["show"], ["graph", "-o", "g.dot"]])
@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"\x00\xff", b"[1, 2", b'{"format": "diagplan-plan", "version": 7}']
)
def test_unreadable_plans_are_one_line_and_exit_code_1(
    tmp_path: Path, command: list[str], content: bytes | None
) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run(command[0], str(path), *command[1:])
    assert (code, out) == (1, "")
    assert err.startswith("diagplan: ")
    assert err.count("\n") == 1


def test_verify_valid_plan(tiny: Path) -> None:
    report = run_json("verify", str(tiny))
    assert report == {"ok": True, "errors": 0, "warnings": 0, "counts": {}, "diagnostics": []}
    assert "valid, 0 error(s), 0 warning(s)" in run("verify", str(tiny))[1]


def test_verify_damaged_plan(tiny: Path) -> None:
    path = damaged(tiny)
    report = run_json("verify", str(path), code=1)
    assert report["ok"] is False
    # The feed now carries another token than its position's: it counts as a proxy, which nobody may see.
    assert set(report["counts"]) == {"DP204", "DP304", "DP403", "DP406", "DP504", "DP601"}
    assert report["counts"]["DP204"] == 1
    assert report["errors"] == sum(report["counts"].values()) - report["counts"]["DP304"]
    code, out, _ = run("verify", str(path))
    assert code == 1
    assert "expected a source known before the step, got source=11, which step" in out
    assert "not valid" in out


def test_verify_caps_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "mineworld.json"
    assert (
        run(
            "compile", "--model", "mc-ar", "--frames", "2", "--k", "2", "--policies", "mineworld-image", "-o", str(path)
        )[0]
        == 0
    )
    report = run_json("verify", str(path), "--cap", "3")
    assert report["ok"] is True
    assert report["counts"]["DP304"] == 26
    assert sum(diagnostic["code"] == "DP304" for diagnostic in report["diagnostics"]) == 3
    assert "more not shown" in run("verify", str(path), "--cap", "3")[1]


def test_steps_side_by_side() -> None:
    value = run_json("steps", "--model", "mc-ar", "--frames", "15", "--k", "1,2,4,24")
    assert value["next_token_steps"] == 5040
    assert [line["steps"] for line in value["schedules"]] == [555, 750, 1140, 5040]
    assert [round(line["speedup"], 2) for line in value["schedules"]] == [9.08, 6.72, 4.42, 1.0]
    assert [round(line["approximate"], 3) for line in value["schedules"]] == [8.842, 6.462, 4.2, 0.933]
    stacked = run_json("steps", "--model", "cosmos", "--k", "1", "--d", "40")["schedules"]
    assert [(line["steps"], line["approximate"], line["by"]) for line in stacked] == [(183, 64.0, "r_diag")]


def test_audit_is_a_report() -> None:
    value = run_json("audit")
    assert value["counts"] == {"rounds": 41, "truncates": 2, "no": 10}
    assert len(value["cells"]) == 53
    assert {"model", "algorithm", "published", "law", "agrees"} <= set(value["cells"][0])
    assert "53 cells: 41 agree" in run("audit")[1]


def test_schema_is_the_committed_one() -> None:
    committed = Path(__file__).parents[2] / "schemas" / "plan.schema.json"
    assert run("schema")[1] == committed.read_text()
    assert run_json("schema") == json.loads(committed.read_text())


def test_presets_are_listed() -> None:
    value = run_json("presets")
    assert value["models"]["mc-ar"]["rows"] == 14
    assert set(value["bundles"]) == {"default", "mineworld-image", "mineworld-video", "zipar-llamagen"}


def test_diff_says_which_feeds_differ(tmp_path: Path) -> None:
    layout = Layout(frames=1, rows=3, cols=4, lead=1)
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_plan(compile_plan(layout, Diagonal(k=1)), a)
    write_plan(compile_plan(layout, Diagonal(k=2)), b)
    code, out, _ = run("diff", str(a), str(b))
    assert code == 1
    assert "steps" in out
    assert "frame 0 row 1 col 0" in out
    value = run_json("diff", str(a), str(b), code=1)
    assert value["header"]["steps"] == ["6", "8"]
    assert {"position": 4, "target": 5, "what": "step", "a": 1, "b": 2} in value["differences"]
    assert run_json("diff", str(a), str(a))["same"] is True


@pytest.mark.parametrize("suffix", ["graphml", "dot", "json"])
@pytest.mark.parametrize("nodes", ["feeds", "tokens"])
def test_graph_export(tiny: Path, suffix: str, nodes: str) -> None:
    out = tiny.with_suffix(f".{suffix}")
    out = out.with_name(f"graph.{suffix}")
    value = run_json("graph", str(tiny), "-o", str(out), "--nodes", nodes)
    assert value["passes_needed"] == value["steps"] == 6
    assert out.stat().st_size > 0


def test_graph_refuses_damaged_plans(tiny: Path) -> None:
    code, _, err = run("graph", str(damaged(tiny)), "-o", str(tiny.with_name("g.dot")))
    assert code == 1
    assert "expected a valid plan" in err


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


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = run("compile", *TINY, "-o", str(tmp_path / "plan.json"))
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.planner.compiler.compile_plan", interrupt)
    code, out, err = run("compile", *TINY)
    assert (code, out) == (130, "")
    assert err == "diagplan: interrupted; no file was changed.\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m diagplan presets | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Models")


def test_completion_script_is_offered() -> None:
    # Named, for the shell that a test runs in is make's or nobody's.
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "diagplan", "--show-completion", "bash"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "complete" in done.stdout


def test_version() -> None:
    import diagplan

    assert run("--version")[1] == f"diagplan {diagplan.__version__}\n"


def test_a_full_stdout_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "diagplan", "presets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "diagplan: cannot write the output: No space left on device. Redirect it elsewhere.\n"


def test_escape_sequences_from_files_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(compile_plan(Layout(frames=1, rows=1, cols=2, lead=1), Diagonal(k=1)), path)
    value = json.loads(path.read_text()) | {"\x1b[31mred\n": 1}
    path.write_text(json.dumps(value))
    code, _, err = run("verify", str(path))
    assert code == 1
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_show_refuses_a_step_that_is_not_there(tiny: Path) -> None:
    assert run("show", str(tiny), "--step", "6", "--json")[0] == 2
    assert run("show", str(tiny), "--feed", "0")[0] == 2


def test_diff_sees_a_changed_mask_row(tiny: Path) -> None:
    value = json.loads(tiny.read_text())
    value["steps"][2]["rows"][0][-1] += 2
    other = tiny.with_name("other.json")
    other.write_text(json.dumps(value))
    assert run_json("diff", str(tiny), str(other), code=1)["same"] is False
    assert "mask" in json.dumps(run_json("diff", str(tiny), str(other), code=1)["differences"])


def test_show_says_that_a_plan_is_not_valid(tiny: Path) -> None:
    assert "is not valid" not in run("show", str(tiny))[1]
    assert "damaged.json is not valid" in run("show", str(damaged(tiny)))[1]
    assert run_json("show", str(tiny.with_name("damaged.json")))["ok"] is False


def test_a_name_that_is_no_plan_file_is_refused(tmp_path: Path) -> None:
    code, _, err = run("compile", *TINY, "-o", str(tmp_path / "plan.yaml"))
    assert code == 2
    assert "expected a name ending in .json" in err
    assert list(tmp_path.iterdir()) == []
