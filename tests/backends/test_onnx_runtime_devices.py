"""ONNX Runtime's devices, threads and dtypes: what is not here is refused, never replaced in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from diagplan.backends import onnx_runtime  # noqa: E402
from diagplan.backends.memory import cache_bytes  # noqa: E402
from diagplan.backends.onnx_export import export_model  # noqa: E402
from diagplan.backends.onnx_runtime import GRAPH, OnnxModel, load_onnx_model, open_session  # noqa: E402
from diagplan.backends.threads import Threads, threads_in_use, usable_cpus  # noqa: E402
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError  # noqa: E402
from tests.support.exported import exported_folder, exported_model  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:", "cpu:-1", "cpu:0", "cpu:", ""])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(SpecError, match="expected device to be cpu, cuda or cuda:N"):
        load_onnx_model(exported_folder(), device=device)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="expected a CUDA device of this machine, which has 0, got cuda:0"):
        load_onnx_model(exported_folder(), device="cuda")


def test_a_silent_fall_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime runs on the CPU, with two lines on stderr, where it cannot load its CUDA provider."""
    onnxruntime = pytest.importorskip("onnxruntime")

    class FellBack:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnx_runtime, "_torch_stream", lambda _: {})
    monkeypatch.setattr(onnxruntime, "InferenceSession", FellBack)
    with pytest.raises(SpecError, match="expected the CUDAExecutionProvider for device='cuda:1', got CPUExecution"):
        open_session(exported_folder() / GRAPH, device="cuda:1")


def test_what_the_cpu_cannot_run(tmp_path: Path) -> None:
    export_model(golden_model(dtype=torch.bfloat16, portable=True), tmp_path / GRAPH, config={})
    with pytest.raises(SpecError, match="expected device cuda for the bfloat16 of"):
        load_onnx_model(tmp_path)
    with pytest.raises(DocumentError, match="expected a graph that ONNX Runtime loads on cpu, got "):
        open_session(tmp_path / GRAPH)


def test_bfloat16_takes_two_bytes() -> None:
    model = exported_model()
    half = OnnxModel(model.session, model.document.model_copy(update={"dtype": "bfloat16"}), "")
    assert str(half.dtype) == "bfloat16"
    assert 2 * cache_bytes(half, 3, 50) == cache_bytes(model, 3, 50)


def test_int8_is_for_the_cpu() -> None:
    with pytest.raises(SpecError, match=r"expected device cpu for the int8 products of .*, got cuda"):
        load_onnx_model(exported_folder(quantize="int8"), device="cuda")


@pytest.mark.parametrize("threads", [0, -3])
def test_no_threads(threads: int) -> None:
    with pytest.raises(SpecError, match=f"expected threads >= 1, got threads={threads}"):
        load_onnx_model(exported_folder(), threads=threads)


def test_what_onnx_runtime_raises_is_named() -> None:
    model = exported_model()
    cache = model.new_cache(1, 4)
    one = np.zeros(1, np.int64)
    with pytest.raises(DiagplanError, match="expected ONNX Runtime to run the exported graph, got an error"):
        model.forward(one[None], one + 10**6, one, np.ones((1, 4), np.bool_), cache)


@pytest.mark.parametrize(("asked", "number", "spinning"), [("auto", 1, "0"), (None, usable_cpus(), None), (2, 2, None)])
def test_threads_that_were_chosen_do_not_spin(
    asked: Threads, number: int, spinning: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    model = load_onnx_model(exported_folder(), threads=asked)
    options = model.session.get_session_options()
    assert threads_in_use(model) == options.intra_op_num_threads == number
    name = "session.intra_op.allow_spinning"
    if spinning is None:
        with pytest.raises(RuntimeError, match=name):
            options.get_session_config_entry(name)
    else:
        assert options.get_session_config_entry(name) == spinning
