"""`diagplan verify`: verdicts, counts and caps."""

from pathlib import Path

from tests.support.cli import damaged, run, run_json


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
