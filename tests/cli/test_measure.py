"""`diagplan measure`."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from diagplan.backends import measure as timing
from diagplan.schemas.curve import curve_of, read_curve
from tests.support.cli import invoke, run, run_json
from tests.support.curves import FakeClock, Slowed


@pytest.fixture
def slowed(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Every pass takes a rule's time, by a clock that nothing else moves."""
    clock = FakeClock()
    grid: Any = timing._Grid

    def made(model: Any, *rest: Any) -> Any:
        return grid(Slowed(model, clock, lambda *shape: 2e-2 + 1e-3 * shape[0]), *rest[:-1], clock)

    monkeypatch.setattr(timing, "_Grid", made)
    measured = timing.measure_passes
    monkeypatch.setattr("diagplan.models.measuring.measure_passes", lambda *a, **k: measured(*a, clock=clock, **k))
    return clock


def test_the_world_that_ships(tmp_path: Path, slowed: FakeClock) -> None:
    out = tmp_path / "curve.json"
    value = run_json("measure", "--model", "crafter-mini", "--seconds", "2", "--longest", "64", "-o", out)
    assert (value["kind"], value["noisy"], value["device"], value["dtype"]) == ("measured", False, "cpu", "float32")
    document = read_curve(out)
    assert document.model.name == "crafter-mini"
    assert document.model.files is not None
    assert curve_of(document).at(8, 64) == pytest.approx(2e-2 + 8e-3)
    code, text = invoke("measure", "--model", "crafter-mini", "--seconds", "1", "--longest", "64", "-o", out)
    assert code == 0
    assert "feeds  ms at 64 slots" in text
    assert "crafter-mini on" in text
    assert f"wrote {out}" in text
    assert "too large" not in text


def test_a_checkpoint_by_its_weights(tmp_path: Path, slowed: FakeClock) -> None:
    from diagplan.worlds import SHIPPED

    weights = SHIPPED["crafter-mini"]
    value = run_json("measure", "--weights", weights, "--batch", "2", "--seconds", "1", "-o", tmp_path / "c.json")
    assert value["batch"] == 2
    assert read_curve(tmp_path / "c.json").model.family == "mc-ar"


def test_an_estimate_of_a_released_size(tmp_path: Path) -> None:
    out = tmp_path / "h200.json"
    asked = ("measure", "--roofline", "H200:4.3TB/s,790TFLOP/s", "--adapter", "cosmos", "--config", "cosmos-4b")
    value = run_json(*asked, "--dtype", "bfloat16", "-o", out)
    assert (value["kind"], value["rounds"], value["noisy"]) == ("estimate", None, None)
    assert curve_of(read_curve(out)).at(1, 1024) == pytest.approx(1.76e-3, rel=0.02)  # 7.5 GB at 4.3 TB/s
    code, text = invoke(*asked, "-o", out)
    assert code == 0
    assert "an estimate, nothing was timed" in text


def test_interrupted_nothing_is_left(tmp_path: Path, slowed: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "curve.json"

    def stop(self: Any, shapes: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.backends.measure._point", stop)
    code, _, err = run("measure", "--model", "crafter-mini", "--seconds", "1", "--longest", "64", "-o", out)
    assert code == 130
    assert "no file was changed" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "expected --model or --weights, got neither"),
        (("--model", "crafter-mini", "--weights", "w.pt"), 2, "expected --model or --weights, got both"),
        (
            ("--model", "nothing"),
            2,
            "expected --model to be one of crafter-mini, or a world model's folder, got 'nothing'",
        ),
        (("--roofline", "H900", "--config", "300M_16f"), 2, "expected a device out of A100"),
        (("--roofline", "H200"), 2, "expected weights, or a config out of 300M_16f"),
        (("--weights", "none.pt"), 1, "none.pt"),
    ],
)
def test_one_clear_error(tmp_path: Path, options: tuple[str, ...], code: int, message: str) -> None:
    exit_code, _, err = run("measure", *options, "-o", tmp_path / "c.json")
    assert exit_code == code
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
