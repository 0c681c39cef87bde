"""Curves of models as documents."""

import hashlib
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.families import FAMILIES  # noqa: E402
from diagplan.adapters.mc_ar import CONFIGS  # noqa: E402
from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.models.measuring import (  # noqa: E402
    config_for,
    estimate_curve,
    files_digest,
    machine_name,
    measure_curve,
    work_of,
)
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.planner.roofline import device_named  # noqa: E402
from diagplan.schemas.curve import curve_of, read_curve, write_curve  # noqa: E402
from tests.support.curves import FakeClock, Slowed  # noqa: E402
from tests.support.exported import exported_model  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402


def slowed(model: Any) -> tuple[Any, FakeClock]:
    clock = FakeClock()
    return Slowed(model, clock, lambda n, length, m: 1e-3 * (10 + n) + 1e-5 * length + 1e-4 * m), clock


def test_a_document_says_what_it_holds_for(tmp_path: Path) -> None:
    model, clock = slowed(golden_model())
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    document, measured = measure_curve(model, name="golden", files=tmp_path, seconds=3.0, clock=clock, batch=2)
    assert (document.kind, document.backend, document.device, document.dtype) == ("measured", "torch", "cpu", "float32")
    assert document.threads == torch.get_num_threads()
    assert (document.model.family, document.model.fingerprint) == ("mc-ar", golden_model().fingerprint())
    assert document.model.files == hashlib.sha256(hashlib.sha256(b"weights").digest()).hexdigest()
    assert document.versions["torch"] == version("torch")  # torch.__version__ may say more, such as +cu130
    assert document.batch == 2
    write_curve(document, tmp_path / "curve.json")
    assert read_curve(tmp_path / "curve.json") == document
    curve = curve_of(document)
    # All points are of passes in which every feed chooses, prompts too.
    assert curve.at(1, 64) == pytest.approx(1e-3 * 11 + 64e-5 + 1e-4)
    assert curve.target_seconds == pytest.approx(1e-4)
    assert len(document.points) == len(measured.points)


def test_a_runtime_of_its_own_has_new_caches() -> None:
    pytest.importorskip("onnxruntime")
    model, clock = slowed(exported_model())
    document, _ = measure_curve(
        model, name="x", options=LoadOptions(backend="onnx"), seconds=1.0, clock=clock, longest=64
    )
    assert (document.backend, document.length_step, document.threads) == ("onnx", 256, model.threads)


@pytest.mark.parametrize("family", ["mc-ar", "cosmos", "wham"])
def test_an_estimate_needs_no_weights(family: str) -> None:
    names = FAMILIES.get(family).configs
    sizes = [str(config_for(family, None, LoadOptions(config=name))) for name in names]
    assert len(set(sizes)) == len(names)
    for name in names:
        options = LoadOptions(config=name, dtype="bfloat16")
        config = config_for(family, None, options)
        work = work_of(config, item=2)
        every = sum(math.prod(shape) for shape in config.shapes().values())
        assert every < work.feed_flops <= 2 * every
        assert work.weight_bytes < 2 * every + 1
        document = estimate_curve(
            config, device_named("H200"), name=name, adapter=family, positions=5600, options=options
        )
        assert document.kind == "estimate"
        assert curve_of(document).estimate
        assert document.model.fingerprint is None
        assert "4.8 TB/s, 989 TFLOP/s (NVIDIA H200 SXM, data sheet)" in document.machine
        assert curve_of(document).at(1, 1024) > work.weight_bytes / 4.8e12


def test_work_of_the_released_300m() -> None:
    work = work_of(CONFIGS["300M_16f"], item=2)
    config = CONFIGS["300M_16f"]
    assert config_for("mc-ar", None, LoadOptions(config="300M_16f")) == config
    table = config.vocab_size * config.hidden_size
    every = sum(math.prod(shape) for shape in config.shapes().values())
    assert work.weight_bytes == 2 * (every - table)
    assert work.feed_flops == 2 * (every - table)
    assert work.slot_bytes == 2 * sum(heads * width for heads, width in config.cache_shapes)
    assert work.pair_flops == 4 * config.num_hidden_layers * config.hidden_size


def test_sizes_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected weights, or a config out of 300M_16f"):
        config_for("mc-ar", None, LoadOptions())
    with pytest.raises(SpecError, match="got config='9B'"):
        config_for("mc-ar", None, LoadOptions(config="9B"))
    with pytest.raises(SpecError, match="not an export"):
        config_for("mc-ar", tmp_path, LoadOptions(backend="onnx"))


def test_digests_of_files(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="expected files of weights in"):
        files_digest(tmp_path)
    with pytest.raises(DocumentError, match="cannot read"):
        files_digest(tmp_path / "none")
    (tmp_path / "a.pt").write_bytes(b"1")
    one = files_digest(tmp_path)
    assert one == files_digest(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"2")
    assert files_digest(tmp_path) != one


def test_the_machine_has_a_name() -> None:
    assert 3 < len(machine_name()) <= 200


def test_a_model_without_files_or_grid() -> None:
    model, clock = slowed(ImageModel.random(positions=600))
    document, _ = measure_curve(model, name="example", seconds=20.0, clock=clock)
    assert document.model.files is None
    assert document.model.positions == 600
    wide = [point for point in document.points if point.width > 128]
    assert wide  # timed with one feed that chooses a token, and put down as if all did
    for point in wide:
        every = 1e-3 * (10 + point.width) + 1e-5 * point.length + 1e-4 * point.width
        assert point.seconds == pytest.approx(every)
