"""Parts about other ways: speculation, models of transformers, ONNX Runtime."""

import tempfile
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.gpu.bench import Bench
from bench.gpu.passes import given_ids, timed
from bench.gpu.shapes import MC_AR_SCHEDULES, mc_ar, mc_ar_layout
from diagplan import NextToken, Speculation, compile_plan
from diagplan.adapters.mc_ar import McAr
from diagplan.backends import speculative
from diagplan.backends.measured import ACCEPTED
from diagplan.backends.prepared import prepare
from diagplan.models.exporting import export_onnx

__all__ = ["onnx", "speculation", "transformers"]

_WINDOW = 40


class Scripted(McAr):
    """A model that computes as any other, and then chooses what a script says: guesses are right as often as asked.

    Attributes:
        script: the token of every position, int64 [positions].
    """

    script: torch.Tensor

    def forward(self, ids: Any, position: Any, *others: Any) -> Any:
        """As the model's own, with the script's token far above all others."""
        logits = super().forward(ids, position, *others)
        rows = others[3] if len(others) > 3 else None
        after = self.script[(position + 1).clamp(max=len(self.script) - 1)]
        after = after if rows is None else after[..., rows]
        chosen = after.expand(logits.shape[:2])[..., None]
        return logits.scatter_add(-1, chosen, torch.full_like(logits[..., :1], 1e4))


def speculation(bench: Bench) -> None:
    """Exact decoding of 300M_16f: guesses that fail, that hold as often as crafter-mini's, that all hold."""
    model = mc_ar("300M_16f", bench.device.device, quick=bench.quick)
    layout = mc_ar_layout(quick=bench.quick, frames=3)
    plan = compile_plan(layout, NextToken())
    base = timed(bench.device, plan, model, mode="kernels", whole=10.0)
    window = 8 if bench.quick else _WINDOW
    random = np.random.default_rng(0)
    high = model.vocabulary[0].high
    tokens = random.integers(0, high, (layout.frames, layout.rows, layout.cols))
    scripted = Scripted.__new__(Scripted)
    scripted.__dict__ = model.__dict__ | {"script": torch.zeros(layout.positions, dtype=torch.int64)}
    scripted.script[torch.from_numpy(layout.cell_slots().astype(np.int64))] = torch.from_numpy(tokens)
    scripted.script = scripted.script.to(bench.device.device)
    wrong = max(0.0, 1 / np.interp(window, list(ACCEPTED), list(ACCEPTED.values())) - 1 / window)
    as_measured = np.where(random.random(tokens.shape) < wrong, (tokens + 1) % high, tokens)
    seconds = base.whole_seconds or base.seconds
    bench.part.facts |= {"next-token s": seconds, "next-token passes": base.passes, "generated frames": layout.frames}
    for adaptive in (False, True):
        ways: dict[str, tuple[Any, NDArray[np.int64]]] = {
            "guesses of random weights": (model, tokens),
            "guesses as crafter-mini's": (scripted, as_measured),
            "all guesses right": (scripted, tokens),
        }
        for way, (who, guesses) in ways.items():
            if bench.room(0 if bench.quick else 4, way):
                _speculate(bench, f"{way}{', adaptive' * adaptive}", plan, who, guesses, seconds,
                           Speculation(window=window, adaptive=adaptive))  # fmt: skip
    bench.note(
        "Guesses of random weights are right by chance alone. The others come from a script that the model follows "
        f"after it has computed its logits: {wrong:.1%} of first guesses are wrong, which accepts as many tokens a "
        "pass as crafter-mini does."
    )


def _speculate(
    bench: Bench, way: str, plan: Any, model: Any, guesses: NDArray[np.int64], base: float, how: Speculation
) -> None:
    ready = speculative.prepare(plan, model, how)
    ids = np.random.default_rng(0).integers(0, model.vocabulary[0].high, (1, len(ready.given_slots)))
    done = speculative.replay(ready, state := speculative.new_state(ready, ids, guesses=guesses))
    graphs = 0 if state.graphed is None else state.graphed.graphs
    again = speculative.new_state(ready, ids, guesses=guesses)
    if state.graphed is not None:  # what was captured writes the first state's cache, so that goes on too
        again.cache, again.graphed = state.cache, state.graphed
    took = bench.device.seconds(lambda: speculative.replay(ready, again))
    bench.row(
        way=way, passes=done.passes, **{
            "ms a pass": 1e3 * took / done.passes, "tokens a pass": plan.layout.tokens / done.passes,
            "frames/s": plan.layout.frames / took, "x time of next-token": base / took, "graphs": graphs,
        },
    )  # fmt: skip


def transformers(bench: Bench) -> None:
    """The shape of Janus-Pro-1B: its own ``generate``, and plans on its layers and on diagplan's."""
    try:
        import_module("transformers")
    except ImportError as error:
        bench.part.status = "skipped"
        bench.note(f"Left out: transformers cannot be imported ({error}).")
        return
    from bench.hf_shapes import SHAPES
    from bench.transformers import PROMPT, generated
    from diagplan import Layout
    from diagplan.adapters.transformers import TransformersModel

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(bench.device.device):
            module = SHAPES["janus-pro-1b"][0](1 if bench.quick else 24).eval()
    finally:
        torch.set_default_dtype(default)
    side = 3 if bench.quick else 24
    layout = Layout(frames=1, rows=side, cols=side, lead=PROMPT)
    for label, fast in (("transformers' layers", False), ("diagplan's layers", True)):
        model = TransformersModel(module, fast=fast)
        for name in ("next-token", "k=2"):
            if not bench.room(0 if bench.quick else 8, f"{label}, {name}"):
                continue
            plan = compile_plan(layout, MC_AR_SCHEDULES[name])
            mode: Any = "graphs"
            try:
                took = timed(bench.device, plan, model, mode=mode, guidance=5.0, row=4)
            except RuntimeError as error:
                bench.note(f"{label} cannot be captured ({str(error)[:200]}); run operator by operator.")
                mode = "eager"
                took = timed(bench.device, plan, model, mode=mode, guidance=5.0, row=2, repeats=1)
            bench.row(
                run=f"{label}, {name}", mode=mode, passes=took.passes,
                **{"ms a pass": 1e3 * took.seconds / took.passes, "s a picture": took.seconds},
            )  # fmt: skip
    tokens = min(4 if bench.quick else 64, layout.tokens)
    try:
        with torch.device(bench.device.device):
            generated(module, "janus-pro-1b", layout.tokens, 4)
            seconds = float(np.sum(generated(module, "janus-pro-1b", layout.tokens, tokens)))
    except (TypeError, RuntimeError, ValueError) as error:  # not every version can, and that is not ours to mend
        bench.note(f"transformers' own generate with a static cache fails: {type(error).__name__}: {str(error)[:300]}")
        return
    bench.row(
        run="transformers' generate, static cache", mode="eager", passes=layout.tokens,
        **{"ms a pass": 1e3 * seconds / tokens, "s a picture": seconds / tokens * layout.tokens},
    )  # fmt: skip
    bench.note(f"generate was timed over {tokens} tokens and scaled to the picture's {layout.tokens}.")


def onnx(bench: Bench) -> None:
    """ONNX Runtime's CUDA provider on 300M_16f, where its package is there."""
    try:
        runtime = import_module("onnxruntime")
        providers = runtime.get_available_providers()
    except ImportError as error:
        providers, runtime = [], None
        bench.note(f"ONNX Runtime cannot be imported ({error}).")
    if runtime is not None and bench.device.on_gpu and "CUDAExecutionProvider" not in providers:
        bench.note(f"This package of ONNX Runtime {runtime.__version__} has no CUDA provider, but {providers}.")
        runtime = None
    if runtime is None:
        bench.part.status = "skipped"
        return
    from diagplan.backends.onnx_runtime import load_onnx_model
    from diagplan.backends.replay import new_state, replay

    dtype = torch.float16 if bench.device.on_gpu else torch.float32
    model = mc_ar("300M_16f", torch.device("cpu"), quick=bench.quick, dtype=dtype)
    layout = mc_ar_layout(quick=bench.quick, frames=1)
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, folder)
        loaded = load_onnx_model(folder, device=str(bench.device.device))
        base = None
        for name in ("next-token", "k=2"):
            plan = compile_plan(layout, MC_AR_SCHEDULES[name])
            ready = prepare(plan, loaded)
            ids = given_ids(ready)
            replay(ready, new_state(ready, ids))
            took = bench.device.seconds(lambda: replay(ready, new_state(ready, ids)))  # noqa: B023
            base = base or took
            bench.row(plan=name, passes=len(ready.passes), dtype=str(dtype).removeprefix("torch."),
                      **{"ms a pass": 1e3 * took / len(ready.passes), "frames/s": layout.frames / took,
                         "x time": base / took})  # fmt: skip
