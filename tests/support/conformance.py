"""What the conformance suite runs over: models by name, backends by name."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, Policies, compile_plan  # noqa: E402
from diagplan.adapters.contract import input_vocab_of  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.adapters.cosmos_positions import FrequencyRescale  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.adapters.llamagen_config import LlamaGenConfig  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.adapters.wham import Wham, WhamConfig  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.given import given_slots  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample, Sampler  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.policy import Visibility  # noqa: E402
from tests.support.kept import made_once  # noqa: E402
from tests.support.placed_model import PlacedModel  # noqa: E402

SAMPLERS = [Greedy(), Sample(temperature=0.7), Sample(top_k=5), Sample(top_p=0.8), Sample(top_p=0.6, crossing="drop")]
SAMPLERS += [Sample(top_k=6, top_p=0.9, min_p=0.05)]
POSITIONS = 160
LAYOUT = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)
EOL = Layout(frames=1, rows=4, cols=4, lead=3, between_rows=1)


def mc_ar(rope: str, dtype: Any, *, portable: bool = False) -> McAr:
    config = McArConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        image_vocab=33,
        max_position_embeddings=POSITIONS,
        rope=rope,  # type: ignore[arg-type]
        rows=3,
        cols=4,
        action_tokens=2,
    )
    return McAr.random(config, dtype=dtype, seed=3, portable=portable)


class NarrowHead(McAr):
    """Ids of actions are fed, and have no logits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.vocab_size, self.input_vocab_size = 33, 40

    def forward(self, *inputs: Any) -> Any:
        return super().forward(*inputs)[..., : self.vocab_size]


def narrow_head(dtype: Any, *, portable: bool = False) -> McAr:
    return NarrowHead.random(mc_ar("1d", torch.float32).config, dtype=dtype, seed=9, portable=portable)


def cosmos(dtype: Any, *, world: bool, portable: bool = False) -> Cosmos:
    """4B's kind, or 13B Video2World's: a text, absolute positions, rescaled rotation, heads wider than the model."""
    grid = (1, 53, 3) if world else (2, 8, 10)  # 160 positions, with and without begin-of-video
    config = CosmosConfig(
        dim=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        ffn_hidden_size=40,
        head_dim=16 if world else None,
        vocab_size=40,
        video_latent_shape=grid,
        absolute=world,
        begin_of_video=world,
        context_dim=12 if world else None,
        rescale=FrequencyRescale() if world else None,
    )
    model = Cosmos.random(config, dtype=dtype, seed=3, portable=portable)
    if not world:
        return model
    return model.with_context(torch.randn(5, 12, generator=torch.Generator().manual_seed(4)))


def wham(version: Any, bias: bool, dtype: Any, *, portable: bool = False) -> Wham:
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 32, "seq_len": 10, "rows": 3, "cols": 4}
    config = WhamConfig(**sizes, nanogpt_version=version, bias=bias, image_codes=33, buttons=2, sticks=2)
    assert config.positions == POSITIONS
    return Wham.random(config, dtype=dtype, seed=3, portable=portable)


def llamagen(dtype: Any, *, portable: bool = False) -> LlamaGen:
    config = LlamaGenConfig(n_layer=2, n_head=2, dim=32, vocab_size=33, num_classes=6, multiple_of=16, largest_side=13)
    model = LlamaGen.random(config, dtype=dtype, seed=3, portable=portable)
    model.positions = POSITIONS
    return model


def of_transformers(family: str, dtype: Any, **_: Any) -> Any:
    pytest.importorskip("transformers")
    from diagplan.adapters.transformers import TransformersModel
    from tests.support import hf_models

    module = hf_models.BUILDERS[family](positions=POSITIONS, dtype=dtype)
    raster = hf_models.RASTER if family == "raster-llama" else None
    return TransformersModel(module, family=family, raster=raster)


#: Families of transformers, whose decoders are the library's own.
TRANSFORMERS = ("janus-pro", "emu3", "glm-image", "chameleon", "raster-llama")
#: Name -> the model in a dtype; with ``portable=True`` as ONNX export needs it.
MODELS: dict[str, Callable[..., Any]] = {
    "mc-ar-1d": partial(mc_ar, "1d"),
    "mc-ar-3d": partial(mc_ar, "3d"),
    "cosmos": partial(cosmos, world=False),
    "cosmos-v2w": partial(cosmos, world=True),
    "wham-v1": partial(wham, 1, True),
    "wham-v2-no-bias": partial(wham, 2, False),
    "mc-ar-narrow-head": narrow_head,
    "example": lambda dtype, **_: ImageModel.random(POSITIONS, dtype=dtype),
    "llamagen": llamagen,
    "placed": lambda dtype, **_: PlacedModel(dtype),
    **{family: partial(of_transformers, family) for family in TRANSFORMERS},
}
BACKENDS: dict[str, Any] = {"torch": executor, "torch-static": SimpleNamespace(**vars(executor))}
# The passes of fixed shape that become CUDA graphs on a GPU, run directly.
BACKENDS["torch-static"].prepare = partial(executor.prepare, static=True)


@cache
def exported(name: str, dtype: Any) -> Any:
    """A model of the suite on ONNX Runtime."""
    pytest.importorskip("onnxruntime")
    from diagplan.backends.onnx_export import export_model
    from diagplan.backends.onnx_runtime import GRAPH, load_onnx_model

    if name == "janus-pro" and dtype == torch.float64:
        pytest.skip("ONNX Runtime has no error function in float64")

    def make(name: str, dtype: Any) -> tuple[str, Callable[[Path], object]]:
        return f"conformance-{name}-{dtype}".replace("torch.", ""), lambda folder: export_model(
            MODELS[name](dtype, portable=True), folder / GRAPH, config={}
        )

    others = dict(make(other, any_dtype(other, "onnx")) for other in EXPORTED)
    folder = made_once(*make(name, dtype), {} if is_slow(name, "onnx") else others)
    return load_onnx_model(folder, threads=1)


@cache
def _fingerprint(name: str, dtype: Any) -> str:
    fingerprint: str = MODELS[name](dtype).fingerprint()
    return fingerprint


def prepare_onnx(plan: Plan, model: Any, **options: Any) -> executor.Prepared:
    name = next(name for name in MODELS if _fingerprint(name, model.dtype) == model.fingerprint())
    return executor.prepare(plan, exported(name, model.dtype), **options)


BACKENDS["onnx"] = SimpleNamespace(**vars(executor))
BACKENDS["onnx"].prepare = prepare_onnx


#: What is exported in the default run: one model of each kind of graph. The others differ by a constant, a table or an
#: operator that these have too, and an export takes seconds: they are slow.
EXPORTED = ("mc-ar-1d", "cosmos", "wham-v1", "example", "placed")


def is_slow(name: str, backend: str) -> bool:
    """Whether another pair of the default run is much like this one."""
    if name in TRANSFORMERS:
        return backend != "torch" or name in ("chameleon", "raster-llama")
    return backend == "onnx" and name not in EXPORTED


def pairs() -> list[Any]:
    """Models with backends, some of them slow."""
    return [
        pytest.param(name, backend, marks=pytest.mark.slow) if is_slow(name, backend) else (name, backend)
        for name in MODELS
        for backend in BACKENDS
    ]


def any_dtype(name: str, backend: str) -> Any:
    """The dtype of a test that any will do for: float32, or that in which the model is exported already."""
    return torch.float64 if backend == "onnx" and name != "janus-pro" else torch.float32


def ids_for(plan: Plan, model: Any, batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, input_vocab_of(model), (batch, len(given_slots(plan.layout))))


def run(
    backend: str, plan: Plan, model: Any, ids: np.ndarray, sampler: Sampler | None = None, **options: Any
) -> np.ndarray:
    runtime = BACKENDS[backend]
    prepared = runtime.prepare(plan, model, sampler=sampler, batch=len(ids), **options)
    done: executor.Replayed = runtime.replay(prepared, runtime.new_state(prepared, ids))
    assert done.complete
    return done.tokens


@st.composite
def small_plans(draw: st.DrawFn) -> Plan:
    layout = Layout(
        frames=draw(st.integers(1, 3)),
        rows=draw(st.integers(1, 3)),
        cols=draw(st.integers(1, 4)),
        prompt_frames=draw(st.integers(0, 1)),
        lead=draw(st.integers(1, 2)),
        between_frames=draw(st.integers(0, 2)),
        between_rows=draw(st.integers(0, 1)),
    )
    visibility: Visibility = draw(st.sampled_from(["written", "causal"]))
    policies = Policies(
        proxy=draw(st.sampled_from(["above", "latest", "previous-frame", "above-predecessor"])),
        row_end=draw(st.sampled_from(["keep", "refresh"])),
        proxy_kv=draw(st.sampled_from(["visible", "hidden"])),
        visibility=visibility,
    )
    return compile_plan(
        layout,
        Diagonal(k=draw(st.integers(1, 4)), d=draw(st.none() | st.integers(1, 9))),
        policies,
        max_width=draw(st.none() | st.integers(1, 4)),
        slots="position" if visibility == "causal" else draw(st.sampled_from(["position", "step-order"])),
        pad=draw(st.none() | st.just([2, 4])),
    )
