"""What the conformance suite runs over: models by name, backends by name."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout  # noqa: E402
from diagplan.adapters.contract import input_vocab_of  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.adapters.cosmos_positions import FrequencyRescale  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.adapters.llamagen_config import LlamaGenConfig  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.adapters.wham import Wham, WhamConfig  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.given import given_slots  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from tests.support.placed_model import PlacedModel  # noqa: E402

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
    with TemporaryDirectory() as folder:
        export_model(MODELS[name](dtype, portable=True), Path(folder, GRAPH), config={})
        return load_onnx_model(folder, threads=1)


def prepare_onnx(plan: Plan, model: Any, **options: Any) -> executor.Prepared:
    names = [name for name, make in MODELS.items() if make(model.dtype).fingerprint() == model.fingerprint()]
    return executor.prepare(plan, exported(names[0], model.dtype), **options)


BACKENDS["onnx"] = SimpleNamespace(**vars(executor))
BACKENDS["onnx"].prepare = prepare_onnx


def pairs() -> list[Any]:
    """Models with backends; what differs by no more than a decoder of transformers is slow."""
    return [
        pytest.param(name, backend, marks=pytest.mark.slow) if _is_slow(name, backend) else (name, backend)
        for name in MODELS
        for backend in BACKENDS
    ]


def _is_slow(name: str, backend: str) -> bool:
    if name not in TRANSFORMERS:
        return False
    return backend != "torch" or name in ("chameleon", "raster-llama")


def ids_for(plan: Plan, model: Any, batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, input_vocab_of(model), (batch, len(given_slots(plan.layout))))
