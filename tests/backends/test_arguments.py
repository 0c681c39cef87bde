"""What stands in the place of a plan, a model or a sampler is refused by name."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import diagplan  # noqa: E402
from diagplan import Diagonal, Greedy, Layout, Sample, compile_plan, compile_rollout, load_model  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.arguments import (  # noqa: E402
    require_model,
    require_replayable,
    require_sampler,
    require_seeds,
)
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402

PLAN = compile_plan(Layout(frames=1, rows=4, cols=4, lead=3), Diagonal(k=2))
WINDOW = Layout(frames=1, rows=2, cols=2, prompt_frames=1)
ROLLOUT = compile_rollout(WINDOW, Diagonal(k=1), frames=2, prompt_frames=1)
MODEL = ImageModel.random(64)
GIVEN = np.array([50, 51, 52])
PROMPT = np.zeros((1, 2, 2), dtype=np.int64)
#: As people type them; mypy would refuse every one.
replay: Any = diagplan.replay
roll: Any = diagplan.roll
run_chain: Any = diagplan.run_chain
prepare: Any = executor.prepare
load_any: Any = load_model


class Llama(torch.nn.Module):  # type: ignore[misc, name-defined]
    """As transformers has them: a config, a device and a dtype, and ``forward`` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.device, self.dtype, self.config = torch.device("cpu"), torch.float32, {"vocab_size": 9}

    def forward(self, input_ids: Any) -> Any:
        return input_ids


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replay(MODEL, PLAN, given=GIVEN), "plan to be a Plan, got plan=<ImageModel>. Swap plan and model."),
        (lambda: replay("plan.json", MODEL), "plan to be a Plan, got plan='plan.json'. Compile one first."),
        (
            lambda: replay(ROLLOUT, MODEL, PROMPT),
            (
                "plan to be a Plan, got plan=<Rollout>. Replay a Plan with replay, a Rollout with roll, a Chain with "
                "run_chain."
            ),
        ),
        (
            lambda: roll(PLAN, MODEL, PROMPT),
            "plan to be a Rollout, got plan=<Plan>. Replay a Plan with replay, a Rollout with roll, a Chain with",
        ),
        (
            lambda: run_chain(PLAN, MODEL, GIVEN),
            "plan to be a Chain, got plan=<Plan>. Replay a Plan with replay, a Rollout with roll, a Chain with",
        ),
        (lambda: roll(MODEL, ROLLOUT, PROMPT), "plan to be a Rollout, got plan=<ImageModel>. Swap plan and model."),
        (
            lambda: replay(PLAN, Llama(), given=GIVEN),
            (
                "model to be a model behind the forward contract, got model=<Llama>. It lacks family, vocab_size, "
                "positions, cache_shapes. Load one with diagplan.load_model, or write an adapter for it"
            ),
        ),
        (
            lambda: replay(PLAN, ImageModel, given=GIVEN),
            "model to be a model behind the forward contract, got model=the class ImageModel.",
        ),
        (
            lambda: replay(PLAN, "model.safetensors", given=GIVEN),
            "model to be a model behind the forward contract, got model='model.safetensors'. It lacks",
        ),
        (
            lambda: replay(PLAN, MODEL, given=GIVEN, sampler="greedy"),
            "sampler to be Greedy() or Sample(...), got sampler='greedy'. diagplan.sampler_for makes one",
        ),
        (
            lambda: replay(PLAN, MODEL, given=GIVEN, sampler=Greedy),
            "sampler to be Greedy() or Sample(...), got sampler=the class Greedy.",
        ),
        (lambda: roll(ROLLOUT, MODEL, PROMPT, sampler=0.9), "sampler to be Greedy() or Sample(...), got sampler=0.9."),
        (
            lambda: replay(PLAN, MODEL, given=GIVEN, on_frame=3),
            "on_frame to be a function or None, got on_frame=<int>. Give one that takes a frame's number and tokens.",
        ),
        (lambda: replay(PLAN, MODEL, given=GIVEN, on_pass="x"), "on_pass to be a function or None, got on_pass='x'."),
        (lambda: roll(ROLLOUT, MODEL, PROMPT, on_frame=[1]), "on_frame to be a function or None, got on_frame=<list>."),
        (lambda: roll(ROLLOUT, MODEL, PROMPT, on_pass=3), "on_pass to be a function or None, got on_pass=<int>."),
        (lambda: roll(ROLLOUT, MODEL, PROMPT, cancelled=3), "cancelled to be a function or None, got cancelled=<int>."),
        (lambda: load_any("mc-ar", 3), "weights to be a path, got weights=<int>. Give a text or a pathlib.Path."),
        (lambda: load_any("mc-ar", None), "weights to be a path, got weights=None. Give a text or a pathlib.Path."),
        (lambda: load_any(["mc-ar"], "w"), "adapter to be one of mc-ar, cosmos, wham, llamagen, "),
        (
            lambda: load_any("mc-ar", "w", backend=["torch"]),
            "backend to be one of torch, onnx, got backend=a list of 1.",
        ),
        (
            lambda: load_any("mc-ar", "w", config=3),
            "config to be a name, a file or a family's dataclass of sizes, got config=<int>. Leave it out where",
        ),
        (
            lambda: load_any("mc-ar", "w", threads="x"),
            "threads to be a whole number from 1 to 1024, 'auto' or None, got threads='x'.",
        ),
        (lambda: prepare(PLAN, MODEL, sampler=3), "sampler to be Greedy() or Sample(...), got sampler=<int>."),
    ],
)
def test_the_wrong_kind_is_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^expected {re.escape(message)}"):
        call()


def test_an_unknown_backend() -> None:
    with pytest.raises(SpecError, match=r"^expected backend to be one of torch, onnx.*, got backend='jax'\."):
        load_model("mc-ar", "w", backend="jax")
    backend: Any = None
    with pytest.raises(SpecError, match="got backend=None"):
        load_model("mc-ar", "w", backend=backend)


def test_the_right_kinds() -> None:
    for sampler in (None, Greedy(), Sample(top_p=0.5)):
        require_sampler(sampler)
        require_replayable(PLAN, MODEL, sampler)
    require_model(MODEL)


def test_one_seed_or_one_for_each_sample() -> None:
    assert require_seeds(np.int64(3), 2) == 3
    assert require_seeds([3, 4], 2) == require_seeds(np.array([3, 4]), 2) == (3, 4)
    with pytest.raises(MismatchError, match=re.escape("expected one seed, or the seeds of 2 sample(s), got 3.")):
        require_seeds([3, 4, 5], 2)
