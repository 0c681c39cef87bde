"""Worlds whose tokenizer takes clips whole."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")

from diagplan import Diagonal, compile_plan, generate  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.schedule import Imported  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds.generation import compile_for, prompt_tokens  # noqa: E402
from diagplan.worlds.prompts import cut_frames  # noqa: E402
from tests.support.cosmos_world import cosmos_world, write_cosmos_world  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cosmos_world(tmp_path_factory.mktemp("cosmos"))


def test_frames_come_when_the_clip_is_whole(files: Path) -> None:
    world = cosmos_world(files)
    plan = compile_for(world, 24, Diagonal(k=2), prompt_frames=9)
    order: list[tuple[str, int]] = []
    done = generate(
        plan, world, read_video(files / "video.mp4", limit=9),
        on_frame=lambda i, _: order.append(("frame", i)), on_pass=lambda i: order.append(("pass", i)),
    )  # fmt: skip
    assert done.frames.shape == (24, 48, 64, 3)
    assert done.tokens.shape == (3, 3, 4)
    passes = [i for what, i in order if what == "pass"]
    assert passes == list(range(1, plan.steps + 1))
    assert [i for what, i in order if what == "frame"] == list(range(24))
    assert order.index(("frame", 0)) >= plan.steps - 1


def test_frames_that_are_complete_out_of_turn(files: Path) -> None:
    """An imported order may finish a later frame first: the clip is decoded in its own order."""
    world = cosmos_world(files)
    layout = world.config.layout(2)
    turns = np.arange(layout.tokens).reshape(3, -1)[[1, 0, 2]].reshape(3, 3, 4)
    plan = compile_plan(layout, Imported(steps=turns))
    seen: list[int] = []
    prompt = read_video(files / "video.mp4", limit=9)
    done = generate(plan, world, prompt, on_frame=lambda number, _: seen.append(number))
    given = prompt_tokens(world, prompt)
    np.testing.assert_array_equal(done.frames, world.tokenizer.decode(np.concatenate([given, done.tokens]))[9:])
    assert seen == list(range(24))


def test_a_plan_of_another_clip(files: Path) -> None:
    world = cosmos_world(files)
    plan = compile_plan(world.config.layout(3), Diagonal(k=1))
    with pytest.raises(MismatchError, match="expected a plan for cosmos's layout"):
        generate(plan, world, np.zeros((17, 48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("count", [1, 9])
def test_a_prompt_is_decoded_as_the_beginning_of_a_clip(files: Path, count: int) -> None:
    world = cosmos_world(files)
    frames = cut_frames(world, read_video(files / "video.mp4", limit=count))
    tokens = world.encode(frames)
    whole = np.concatenate([tokens, np.repeat(tokens[-1:], 5 - len(tokens), axis=0)])
    pictures = world.reconstruct(frames)
    assert pictures.shape == (count, 48, 64, 3)
    np.testing.assert_array_equal(pictures, world.tokenizer.decode(whole)[:count])
    np.testing.assert_array_equal(world.encode(pictures), tokens)  # the stand-in paints what it reads


def test_frames_are_counted_in_pixels(files: Path) -> None:
    world = cosmos_world(files)
    assert [world.pictures(n) for n in (1, 2, 5)] == [1, 9, 33]
    assert (world.context_frames, world.prompt_frames, world.rows, world.cols) == (33, 9, 3, 4)
    assert world.layout(24).prompt_frames == 2
    assert world.fits(world.layout(32, 1))
    assert world.fits(world.example())
    assert not world.fits(world.config.layout(3))


def test_what_a_clip_does_not_take(files: Path) -> None:
    world = cosmos_world(files)
    with pytest.raises(SpecError, match=r"whole clip, 1 \+ 32 or 9 \+ 24, got 9 \+ 10"):
        world.layout(10)
    with pytest.raises(SpecError, match="expected no --keep for cosmos, got 4"):
        world.window(4)
    with pytest.raises(SpecError, match="expected no actions, which Cosmos does not know"):
        world.read_actions(files / "text.npy")


def test_a_text_is_bound_before_loading(files: Path) -> None:
    world = cosmos_world(files, "text", lazy=True)
    assert world.reads_text
    with pytest.raises(SpecError, match="expected a text for cosmos, a Video2World model, got none"):
        world.load()
    led = world.with_text(np.load(files / "text.npy"))
    assert not led.reads_text
    assert led.load().family == "cosmos"
    assert not cosmos_world(files).reads_text
