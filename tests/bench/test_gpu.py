"""The command for a GPU, whole and tiny on the CPU: it runs without installation, and loses nothing by a failure."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch")

from bench.gpu import __main__ as command  # noqa: E402
from bench.gpu import machine_parts  # noqa: E402
from bench.gpu.bench import Bench, Named, run_parts  # noqa: E402
from bench.gpu.clock import Device  # noqa: E402
from bench.gpu.passes import timed  # noqa: E402
from bench.gpu.report import Part, Report, markdown  # noqa: E402
from bench.gpu.shapes import DrawnWeights, mc_ar, mc_ar_layout  # noqa: E402
from diagplan import Diagonal, NextToken, compile_plan  # noqa: E402
from diagplan.adapters.llama_layers import Tiles  # noqa: E402
from tests.support.cuda import CONFIG  # noqa: E402

ROOT = Path(__file__).parents[2]
#: Of the parts that need other packages, and of the tests, which are tested elsewhere.
PARTS = "device,300m,1200m,cosmos-4b,speculation,kernels,tiles,batches,cosmos-12b,700m"


def test_every_part_runs_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", "--device", "cpu", "--parts", PARTS, "-o", str(tmp_path)]) == 0
    held = json.loads((tmp_path / "gpu.json").read_text())
    assert list(held["parts"]) == PARTS.split(",")
    assert {part["status"] for part in held["parts"].values()} == {"done"}
    text = (tmp_path / "gpu.md").read_text()
    assert "## MC-AR 300M, batch 1 (`300m`: done" in text
    assert "| k=2 d=28 | kernels |" in text
    assert held["parts"]["device"]["facts"]["copy GB/s"] > 0
    rows = held["parts"]["speculation"]["rows"]
    by_way = {row["way"]: row["passes"] for row in rows}
    assert by_way["all guesses right"] < by_way["guesses as crafter-mini's"] < by_way["guesses of random weights"]
    capsys.readouterr()


def test_every_choice_of_tiles_is_timed_and_one_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Through:
        def __init__(self, _: Any, choice: Tiles) -> None:
            self.choice = choice

        def layers(self, x: Any, *_: Any) -> Any:
            if self.choice.keys == 32:
                raise RuntimeError("out of resource: shared memory")
            return x

    def with_kernels(*arguments: Any, **options: Any) -> Any:
        model = mc_ar(*arguments, **options)
        model._kernels = cast("Any", object())
        return model

    monkeypatch.setattr(machine_parts, "KernelLayers", Through)
    monkeypatch.setattr(machine_parts, "mc_ar", with_kernels)
    bench = Bench(Device("cpu"), True, time.monotonic() + 60, Report(tmp_path, {}))
    machine_parts.tiles(bench)
    named = [(row["model"], row["tiles"]) for row in bench.part.rows]
    sound = [name for name, choice in machine_parts.TILES.items() if choice.keys != 32]
    assert named == [(size, name) for size in ("300M_16f", "1200M_16f") for name in sound]
    assert all(len(row) == 2 + 6 and min(list(row.values())[2:]) > 0 for row in bench.part.rows)
    assert len([note for note in bench.part.notes if "out of resource" in note]) == 2
    capsys.readouterr()


@pytest.mark.slow
def test_the_part_of_transformers_runs_where_it_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    assert command.main(["--quick", "--device", "cpu", "--parts", "transformers", "-o", str(tmp_path)]) == 0
    part = json.loads((tmp_path / "gpu.json").read_text())["parts"]["transformers"]
    assert part["status"] == "done"
    assert len(part["rows"]) == 5
    capsys.readouterr()


def test_a_source_checkout_is_enough(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--quick", "--device", "cpu", "--parts", "device", "-o", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": "."}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_cuda_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["-o", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "expected a CUDA device for device=cuda, got a machine where torch" in told
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "300m,none"], "expected parts among device, "),
        (["--budget", "0"], "expected a budget of some seconds, got 0."),
        (["--budget", "nan"], "expected a budget of some seconds, got nan."),
    ],
)
def test_bad_arguments(arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([*arguments, "--device", "cpu", "-o", str(tmp_path)])
    assert told in capsys.readouterr().err


def bench_in(folder: Path, seconds: float = 100.0) -> Bench:
    import time

    return Bench(Device("cpu"), True, time.monotonic() + seconds, Report(folder, {"cpu": "one"}))


def test_a_part_that_fails_loses_nothing(tmp_path: Path) -> None:
    def first(bench: Bench) -> None:
        bench.row(figure=1.5)
        raise RuntimeError("no such kernel")

    def second(bench: Bench) -> None:
        assert json.loads((tmp_path / "gpu.json").read_text())["parts"]["first"]["rows"] == [{"figure": 1.5}]
        bench.row(figure=2.0)

    parts = {"first": Named("First", first, 0), "second": Named("Second", second, 0)}
    assert not run_parts(bench_in(tmp_path), parts, [])
    held = Report.read(tmp_path).parts
    assert held["first"].status == "failed"
    assert held["first"].error is not None
    assert held["first"].error.startswith("RuntimeError: no such kernel")
    assert held["first"].rows == [{"figure": 1.5}]
    assert (held["second"].status, held["second"].rows) == ("done", [{"figure": 2.0}])


def test_a_part_without_time_is_skipped(tmp_path: Path) -> None:
    def never(bench: Bench) -> None:
        raise AssertionError

    assert run_parts(bench_in(tmp_path, 5.0), {"long": Named("Long", never, 60)}, [])
    part = Report.read(tmp_path).parts["long"]
    assert part.status == "skipped"
    assert part.notes[0].startswith("Skipped: it takes about 60 s, and ")


def test_a_part_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    def long(bench: Bench) -> None:
        bench.row(figure=1)
        while True:
            sum(range(1000))

    assert not run_parts(bench_in(tmp_path, 0.5), {"long": Named("Long", long, 0)}, [])
    part = Report.read(tmp_path).parts["long"]
    assert (part.status, part.error) == ("failed", "its time was used up; rows above are whole")


def test_after_an_error_of_cuda_a_fresh_process_goes_on(tmp_path: Path) -> None:
    def first(bench: Bench) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def second(bench: Bench) -> None:
        raise AssertionError("not in this process")

    script = "import sys; print(sys.argv[1:], file=open(r'{}', 'w'))".format(tmp_path / "told")
    parts = {"first": Named("First", first, 0), "second": Named("Second", second, 0)}
    run_parts(bench_in(tmp_path, 50.0), parts, [sys.executable, "-c", script])
    told = (tmp_path / "told").read_text()
    assert "'--goes-on', '--parts', 'second', '--budget', '4" in told or "'--budget', '50'" in told


def test_the_sum_over_shapes_counts_every_pass() -> None:
    model, device = mc_ar("300M_16f", torch.device("cpu"), quick=True), Device("cpu")
    plan = compile_plan(mc_ar_layout(quick=True), NextToken())
    took = timed(device, plan, model, mode="graphs", row=2, repeats=1, whole=60.0)
    assert took.passes == 24
    assert 0 < took.prompt_seconds < took.seconds
    assert took.whole_seconds is not None
    assert {width for width, _ in took.by_shape} >= {1}
    wide = timed(device, compile_plan(plan.layout, Diagonal(k=1)), model, mode="eager", row=2, repeats=1)
    assert (wide.passes, wide.whole_seconds) == (12, None)


def test_drawn_weights_are_the_same_each_time() -> None:
    weights = DrawnWeights(CONFIG, torch.float32, torch.device("cpu"))
    shapes = CONFIG.shapes()
    assert list(weights) == list(shapes)
    assert len(weights) == len(shapes)
    for name, shape in shapes.items():
        assert tuple(weights[name].shape) == shape
        assert torch.equal(weights[name], weights[name])
    assert len({weights.checksum(name) for name in weights}) == len(weights)


def test_markdown_of_any_figures(tmp_path: Path) -> None:
    part: Any = Part("A part", status="done", rows=[{"a": 1.23456, "b": "x|y"}, {"c": 12345.6}], notes=["A note."])
    text = markdown(Report(tmp_path, {"gpu": "none"}, {"one": part}))
    assert "| a | b | c |\n|---|---|---|\n| 1.235 | x/y |  |\n|  |  | 12346 |" in text
    assert "A note." in text
