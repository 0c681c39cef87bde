"""ONNX Runtime: an exported model behind the forward contract, its cache updated in place.

A pass copies its inputs into buffers that stay bound, one binding for each (feeds, cache length, rows), and runs. The
arrays are NumPy's on the CPU, where torch is not needed, and torch's on CUDA.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diagplan.adapters.contract import AllowedIds, Array, Grid, Widths
from diagplan.backends.onnx_cache import Bound, OnnxCache
from diagplan.backends.onnx_files import GRAPH, read_exported
from diagplan.backends.onnx_memory import bound_memory
from diagplan.backends.runtime import NumpyRuntime, Runtime
from diagplan.backends.selftest import require_masks_obeyed
from diagplan.backends.threads import Threads, threads_of_session
from diagplan.planner.coordinates import Coordinates
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown
from diagplan.schemas.onnx_model import OnnxModelDocument

__all__ = ["GRAPH", "OnnxModel", "load_onnx_model", "open_session", "require_signature", "run"]


_BFLOAT16 = 16  # onnx's number of a type that NumPy does not have
_TYPES = {"float64": "double", "float32": "float", "float16": "float16", "bfloat16": "bfloat16"}


class OnnxModel:
    """An exported model; see ``diagplan.adapters.contract.Model`` for what its members mean.

    Args:
        session: an ``onnxruntime.InferenceSession``.
        document: what the file says of itself.
        fingerprint: of the file.
        device: ``"cpu"`` or ``"cuda:0"``.
        tensors: hold inputs, outputs and cache in torch tensors; they must on CUDA.
    """

    def __init__(
        self, session: Any, document: OnnxModelDocument, fingerprint: str, *, device: str = "cpu", tensors: bool = False
    ) -> None:
        self.session, self.document, self.device, self.tensors = session, document, device, tensors
        self.threads: int = session.get_session_options().intra_op_num_threads
        self.family, self.vocab_size, self.positions = document.family, document.vocab_size, document.positions
        self.input_vocab_size = document.input_vocab_size or document.vocab_size
        self.cache_shapes: tuple[tuple[int, int], ...] = document.cache_shapes
        self.vocabulary: tuple[AllowedIds, ...] = tuple(
            AllowedIds(low=rule.low, high=rule.high, rows=rule.rows, cols=rule.cols) for rule in document.vocabulary
        )
        self.grid = (
            None
            if document.grid is None
            else Grid(document.grid.rows, document.grid.cols, document.grid.between_frames)
        )
        self.ragged, self.lead_width = document.ragged, document.lead_width
        self.coordinates = None if document.axes is None else Coordinates(document.axes)
        self.widths = None if document.widths is None else Widths(**document.widths.model_dump())
        # A cache of bfloat16 is held by its bits.
        self.cache_dtype = np.dtype(np.uint16 if document.dtype == "bfloat16" else document.dtype)
        self.dtype = _dtype(document.dtype)
        self._fingerprint = fingerprint
        self.runtime: Runtime = NumpyRuntime()
        if tensors:
            import torch

            from diagplan.backends.torch_eager import TorchRuntime

            self.runtime = TorchRuntime(torch.device(device), length_step=NumpyRuntime.length_step, graphs=False)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros on the model's device."""
        if not self.tensors:
            return np.zeros(shape, dtype)
        import torch

        return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device=self.device)

    def new_cache(self, batch: int, slots: int) -> OnnxCache:
        """A cache of zeros."""
        return OnnxCache(self.cache_shapes, batch, slots, lambda count: self.zeros((count,), self.cache_dtype))

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return self.document.weights_bytes

    def fingerprint(self) -> str:
        """A hash of the exported file, which holds the weights' own."""
        return self._fingerprint

    def forward(
        self,
        ids: Array,
        position: Array,
        slot: Array,
        mask: Array,
        cache: OnnxCache,
        rows: Array | None = None,
        lead: Array | None = None,
    ) -> Array:
        """One pass, see ``diagplan.adapters.contract.Model.forward``; the next pass overwrites the logits."""
        feeds, length = mask.shape[-2:]
        cache.stretch(length)
        wanted, leading = feeds if rows is None else max(1, len(rows)), 1 if lead is None else lead.shape[1]
        bound = cache.bound.get((feeds, wanted, leading))
        if bound is None:
            bound = cache.bound[feeds, wanted, leading] = self._bound(cache, feeds, wanted, leading)
        own_ids, own_position, own_slot, own_mask, own_rows, *own_lead = bound.inputs
        own_ids[:], own_position[:], own_slot[:] = ids, position, slot  # what samples share is given to each
        own_mask[..., :length] = mask
        own_mask[..., length:] = False
        if rows is None:
            own_rows[:] = self.runtime.put(np.arange(feeds))
        else:
            own_rows[: len(rows)] = rows
        if lead is not None:
            own_lead[0][:] = lead
        run(self.session.run_with_iobinding, bound.binding)
        return bound.logits if rows is None else bound.logits[:, : len(rows)]

    def _bound(self, cache: OnnxCache, feeds: int, wanted: int, leading: int) -> Bound:
        apart = (cache.batch,) if self.ragged else ()
        axes = () if self.document.axes is None else (len(self.document.axes),)
        ids = self.zeros((cache.batch, feeds), np.int64)
        position, slot = self.zeros((*apart, feeds, *axes), np.int64), self.zeros((*apart, feeds), np.int64)
        mask = self.zeros((*apart, feeds, cache.length), np.bool_)
        rows = self.runtime.put(np.arange(wanted))
        logits = self.zeros((cache.batch, wanted, self.vocab_size), self.cache_dtype)
        binding = self.session.io_binding()
        inputs = [ids, position, slot, mask, rows]
        for name, array in zip(("ids", "position", "slot", "mask", "rows"), inputs, strict=True):
            self._bind(binding.bind_input, name, array, None)
        own = _BFLOAT16 if self.document.dtype == "bfloat16" else None
        if self.lead_width is not None:
            lead = self.zeros((cache.batch, leading, self.lead_width), self.cache_dtype)
            self._bind(binding.bind_input, "lead", lead, own)
            inputs.append(lead if own is None else lead.view(_torch_bfloat16()))
        for number, array in enumerate(cache.arrays()):
            self._bind(binding.bind_input, f"past_{number}", array, own)
            self._bind(binding.bind_output, f"present_{number}", array, own)
        self._bind(binding.bind_output, "logits", logits, own)
        if own is not None:  # only tensors can hold bfloat16
            logits = logits.view(_torch_bfloat16())
        return Bound(binding, tuple(inputs), logits)

    def _bind(self, bind: Any, name: str, array: Array, element: int | None) -> None:
        kind, _, number = self.device.partition(":")
        if isinstance(array, np.ndarray):
            bind(name, kind, 0, element or array.dtype.type, array.shape, array.ctypes.data)
            return
        dtype = element or np.dtype(str(array.dtype).removeprefix("torch.")).type
        bind(name, kind, int(number or 0), dtype, tuple(array.shape), array.data_ptr())


def _torch_bfloat16() -> Any:
    import torch

    return torch.bfloat16


def run(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call ONNX Runtime, whose exceptions have no class of their own to be caught by.

    Raises:
        MemoryError: it could not allocate.
        DiagplanError: anything else that it raises.
    """
    try:
        return call(*arguments)
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:300]
        if "allocat" in reason.lower() or "memory" in reason.lower():
            raise MemoryError(reason) from None
        raise DiagplanError(f"expected ONNX Runtime to run the exported graph, got an error: {reason}.") from None


def _dtype(name: str) -> "np.dtype[Any]":
    return np.dtype(import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def load_onnx_model(folder: str | Path, *, device: str = "cpu", threads: Threads = None) -> OnnxModel:
    """Load what ``diagplan export-onnx`` wrote. Nothing is executed but the graph's standard operators.

    Args:
        folder: with model.onnx and model.onnx.data.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; CUDA needs torch for its buffers.
        threads: of one pass; ``None``: as many as this process may use; ``"auto"``: one for a small model.

    Raises:
        DocumentError: files that are missing, broken, or of another format.
        SpecError: a device that ONNX Runtime cannot use here, or that lacks the model's dtype.
        MissingExtraError: onnx or onnxruntime is not installed.
        DiagplanError: a model that does not obey its mask.
    """
    exported = read_exported(Path(folder) / GRAPH, OnnxModelDocument)
    document = exported.document
    on_cpu = require_device(device) == "cpu"
    if document.dtype == "bfloat16" and on_cpu:
        raise SpecError(f"expected device cuda for the bfloat16 of {folder}, got {device}. Export float32 for a CPU.")
    if document.quantize == "int8" and not on_cpu:
        raise SpecError(f"expected device cpu for the int8 products of {folder}, got {device}. Export float16 for it.")
    session = open_session(exported.path, device=device, threads=threads)
    kind = _TYPES[document.dtype]
    apart: list[int | None] = [None] if document.ragged else []
    axes: list[int | None] = [] if document.axes is None else [len(document.axes)]
    feeds: dict[str, tuple[str, list[int | None]]] = {
        "ids": ("int64", [None, None]),
        "position": ("int64", [*apart, None, *axes]),
        "slot": ("int64", [*apart, None]),
        "mask": ("bool", [*apart, None, None]),
        "rows": ("int64", [None]),
    }
    if document.lead_width is not None:
        feeds["lead"] = (kind, [None, None, document.lead_width])
    results: dict[str, tuple[str, list[int | None]]] = {"logits": (kind, [None, None, document.vocab_size])}
    for i, (heads, width) in enumerate(document.cache_shapes):
        feeds[f"past_{i}"] = results[f"present_{i}"] = (kind, [None, heads, None, width])
    require_signature(session, exported.path, feeds, results)
    model = OnnxModel(session, document, exported.fingerprint, device=device, tensors=not on_cpu)
    try:
        require_masks_obeyed(model)
        _run_last_position(model)
    except (MemoryError, RuntimeError) as error:
        raise DocumentError(
            f"expected a step graph in {exported.path}, got one that does not run: {str(error)[:500]}."
        ) from None
    return model


def _run_last_position(model: OnnxModel) -> None:
    """One feed at the last position that the file claims: a shorter table of positions fails here."""
    put = model.runtime.put
    zero, last = put(np.zeros(1, np.int64)), put(np.array([model.positions - 1]))
    if model.document.axes is not None:
        return  # its coordinates are computed with, not looked up by slot
    with model.runtime.inference():
        model.forward(
            put(np.zeros((1, 1), np.int64)), last, zero, put(np.ones((1, 1), np.bool_)), model.new_cache(1, 1)
        )


def require_signature(
    session: Any,
    path: Path,
    inputs: Mapping[str, tuple[str, list[int | None]]],
    outputs: Mapping[str, tuple[str, list[int | None]]],
) -> None:
    """Check names, types and fixed sizes of a graph's inputs and outputs; ``None`` is a free size.

    Raises:
        DocumentError: the graph has others.
    """
    for expected, actual in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        held = {
            value.name: (value.type, [size if isinstance(size, int) else None for size in value.shape])
            for value in actual
        }
        wanted = {name: (f"tensor({kind})", sizes) for name, (kind, sizes) in expected.items()}
        wrong = sorted(name for name in {*held, *wanted} if held.get(name) != wanted.get(name))
        if wrong:
            raise DocumentError(
                f"expected {wrong[0][:200]} as {wanted.get(wrong[0], 'no part')} of {path}, got "
                f"{str(held.get(wrong[0], 'none'))[:200]}. Graph and metadata differ. Export it again: "
                "diagplan export-onnx."
            )


def require_device(device: str) -> Literal["cpu", "cuda"]:
    """The kind of a device.

    Raises:
        SpecError: a name of none that ONNX Runtime is asked for here.
    """
    kind, _, number = device.partition(":")
    if device == "cpu":
        return "cpu"
    if kind == "cuda" and (device == kind or number.isdecimal()):
        return "cuda"
    raise SpecError(f"expected device to be cpu, cuda or cuda:N for ONNX Runtime, got device={shown(device)}.")


def open_session(path: Path, *, device: str = "cpu", threads: Threads = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on one device, or an error where it would fall back to another.

    Where its threads are chosen, ``"auto"``, they sleep while they wait: on a machine of its own a pass takes some
    percent longer than with threads that spin, on one that is shared much less (docs/benchmarks.md).

    Raises:
        SpecError: a device that cannot be used here, or no threads.
        DocumentError: a graph that ONNX Runtime cannot load.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError:
        raise missing_packages("exported models", ["onnxruntime"]) from None
    on_cpu = require_device(device) == "cpu"
    if threads is not None and threads != "auto" and threads < 1:
        raise SpecError(f"expected threads >= 1, got threads={shown(threads)}.")
    options = onnxruntime.SessionOptions()
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    options.intra_op_num_threads = threads_of_session(threads, size)
    if threads == "auto":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    if on_cpu:
        bound_memory(options)
    number = device.partition(":")[2] or "0"
    provider: Any = "CPUExecutionProvider"
    if not on_cpu:
        provider = ("CUDAExecutionProvider", {"device_id": number, **_torch_stream(int(number))})
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # noqa: BLE001 - its exceptions have no common class of their own
        reason = " ".join(str(error).split())[:300]
        raise DocumentError(f"expected a graph that ONNX Runtime loads on {device}, got {path}: {reason}.") from None
    used = session.get_providers()[0]
    if not on_cpu and used != "CUDAExecutionProvider":
        raise SpecError(
            f"expected the CUDAExecutionProvider for device={shown(device)}, got {used}, to which ONNX Runtime fell "
            "back. Install onnxruntime-gpu with its CUDA and cuDNN libraries, or give device='cpu'."
        )
    return session


def _torch_stream(number: int) -> dict[str, str]:
    """ONNX Runtime works on torch's stream, so that a pass follows the copies into its buffers."""
    try:
        import torch
    except ImportError:
        raise missing_packages("buffers on CUDA", ["torch"]) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= count:
        raise SpecError(f"expected a CUDA device of this machine, which has {count}, got cuda:{number}. Give 'cpu'.")
    return {"user_compute_stream": str(torch.cuda.current_stream(number).cuda_stream)}
