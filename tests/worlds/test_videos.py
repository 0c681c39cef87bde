"""From files to files by one call, and what it tells meanwhile."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, Sample, generate_video, write_plan  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import Memory  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED, World, load_world  # noqa: E402
from diagplan.worlds.generation import compile_for, generate  # noqa: E402
from diagplan.worlds.plans import plan_for  # noqa: E402
from diagplan.worlds.prompts import PromptCheck  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")


@pytest.fixture(scope="module")
def plan(world: World) -> Any:
    return compile_for(world, 2, Diagonal(k=2))


def test_what_is_written_is_what_generate_makes(world: World, plan: Any, tmp_path: Path) -> None:
    told: list[Any] = []
    made = generate_video(
        world, CLIP, tmp_path / "out.mp4", actions=ACTIONS, plan=plan, sampler=Sample(temperature=2.0), seed=4,
        frames_dir=tmp_path / "frames", gif=tmp_path / "out.gif", tokens=tmp_path / "t.npy", fps=3,
        on_progress=lambda *what: told.append(what), on_memory=told.append, on_prompt=told.append,
    )  # fmt: skip
    prompt, blocks = read_video(CLIP, limit=1), world.read_actions(ACTIONS)
    want = generate(plan, world, prompt, blocks, sampler=Sample(temperature=2.0), seed=4)
    np.testing.assert_array_equal(made.generated.tokens, want.tokens)
    np.testing.assert_array_equal(made.generated.frames, want.frames)
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), want.tokens)
    assert (made.plan, made.passes, made.frames) == (plan, plan.steps, 3)
    assert read_video(tmp_path / "out.mp4").shape == (3, 144, 192, 3)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    assert (tmp_path / "out.gif").read_bytes()[:3] == b"GIF"
    assert [type(one) for one in told[:4]] == [Memory, tuple, PromptCheck, tuple]
    assert told[0] == made.memory
    assert told[2] == made.prompt
    steps = [(what, done, of) for what, done, of in told[3:]]
    assert steps == [
        ("loading", 0, 0),
        *(("generating", done, plan.steps) for done in range(plan.steps + 1)),
    ]


@pytest.mark.parametrize("how", ["file", "function", "left out"])
def test_a_plan_by_its_file_or_by_a_function(world: World, plan: Any, how: str, tmp_path: Path) -> None:
    write_plan(plan, tmp_path / "plan.json")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(ACTIONS.read_text().splitlines(keepends=True)[:2]))
    choices: dict[str, Any] = {
        "file": {"plan": tmp_path / "plan.json"},
        "function": {"plan": lambda world, blocks: plan_for(world, blocks, schedule=Diagonal(k=2))},
        "left out": {},
    }
    asked = choices[how]
    made = generate_video(world, CLIP, tmp_path / "out.mp4", actions=few, **asked)
    assert made.passes == (2 * 108 if how == "left out" else plan.steps)


def test_nothing_is_loaded_where_something_does_not_fit(
    tmp_path: Path, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = load_world("crafter-mini", lazy=True)

    def loaded(*_: object) -> None:
        raise AssertionError("the transformer was loaded")

    monkeypatch.setattr("diagplan.worlds.source.load_model_as", loaded)
    out = tmp_path / "out.mp4"
    cases: list[tuple[type[ValueError], dict[str, Any], str]] = [
        (SpecError, {"actions": None}, "expected actions, which lead crafter-mini from frame to frame"),
        (DocumentError, {"actions": tmp_path / "none.jsonl"}, "cannot read the actions"),
        (DocumentError, {"video": tmp_path / "none.mp4"}, "cannot read the video"),
        (DocumentError, {"plan": tmp_path / "none.json"}, "cannot read"),
        (SpecError, {"text": "a fox"}, "expected --text and --text-encoder together"),
    ]
    for error, changed, words in cases:
        asked: dict[str, Any] = {"video": CLIP, "out": out, "actions": ACTIONS, "plan": plan}
        asked |= changed
        with pytest.raises(error, match=words):
            generate_video(lazy, **asked)
    monkeypatch.setattr("diagplan.models.estimates.free_memory", lambda _: 1000)
    with pytest.raises(CapacityError, match="Nothing was loaded"):
        generate_video(lazy, CLIP, out, actions=ACTIONS, plan=plan)
    assert not list(tmp_path.iterdir())


def test_a_file_beside_the_video_that_cannot_be_written(world: World, plan: Any, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"out\.mp4 is written\.$"):
        generate_video(world, CLIP, tmp_path / "out.mp4", actions=ACTIONS, plan=plan, tokens=tmp_path / "no" / "t.npy")
    assert len(read_video(tmp_path / "out.mp4")) == 3


@pytest.mark.parametrize("frames", [0, 1])
def test_an_interrupt_says_what_is_left(
    world: World, plan: Any, frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, on_frame: Any, **__: Any) -> Any:
        for number in range(frames):
            on_frame(number, np.zeros((144, 192, 3), np.uint8))
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.worlds.videos.generate", stopped)
    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt) as caught:
        generate_video(world, CLIP, out, actions=ACTIONS, plan=plan)
    said = f"{out} holds the prompt and the 1 frames that were finished."
    assert str(caught.value) == (said if frames else "")
    assert out.exists() == bool(frames)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"out": "o.txt"}, "expected a name ending in .mp4 for out, got o.txt"),
        ({"gif": "o.mp4"}, "expected a name ending in .gif for gif, got o.mp4"),
        ({"tokens": "o.json"}, "expected a name ending in .npy for tokens, got o.json"),
        ({"video": 3}, "expected video to be a path, got video=<int>"),
        ({"out": None}, "expected out to be a path, got out=None"),
        ({"plan": 3}, "expected plan to be a plan, a file or a function, got plan=<int>"),
        ({"world": "crafter-mini"}, "expected world to be a world model, got world='crafter-mini'"),
    ],
)
def test_arguments_of_another_kind(world: World, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {"world": world, "video": CLIP, "out": tmp_path / "o.mp4", "actions": ACTIONS}
    with pytest.raises(SpecError, match=f"^{re.escape(words)}"):
        generate_video(**usual | changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "arguments", "words"),
    [
        (compile_for, ("crafter-mini", 7, Diagonal(k=2)), "expected world to be a world model"),
        (compile_for, (None, "7", Diagonal(k=2)), "expected frames to be an integer, got frames='7'"),
        (plan_for, ("crafter-mini",), "expected world to be a world model"),
        (plan_for, (None, "noop"), "expected actions to be an array, got actions='noop'"),
        (plan_for, (None, None, "3"), "expected frames to be an integer"),
    ],
)
def test_plans_of_something_else(world: World, call: Any, arguments: tuple[Any, ...], words: str) -> None:
    first, *rest = arguments
    named = {"frames": rest.pop()} if call is plan_for and len(rest) == 2 else {}
    with pytest.raises(SpecError, match=f"^{re.escape(words)}"):
        call(first or world, *rest, **named)
