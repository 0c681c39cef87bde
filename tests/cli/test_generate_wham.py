"""Gameplay from WHAM's files to a video: recorded actions, a window that slides, and the same on ONNX Runtime."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("av")

from diagplan import Diagonal, NextToken, compile_rollout, load_world, roll  # noqa: E402
from diagplan.models.sampling import sampler_for  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.wham_world import SIZE, TINY, VISION, WhamFiles, wham_arguments, write_wham_world  # noqa: E402


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WhamFiles:
    return write_wham_world(tmp_path, monkeypatch)


def world_of(files: WhamFiles) -> Any:
    return load_world("wham", weights=files[0])


def test_a_window_slides_to_the_end_of_the_actions(files: WhamFiles, tmp_path: Path) -> None:
    """Four frames given, twelve actions: nine frames more, one a window, as the release rolls."""
    out, tokens = tmp_path / "out.mp4", tmp_path / "tokens.npy"
    sampling = ["--temperature", 0.5, "--top-p", 0.9, "--seed", 3]
    code, said = invoke(*wham_arguments(files, out, "--k", 1, "--tokens", tokens, *sampling, "--json"))
    assert code == 0, said
    figures = json.loads(said)
    assert (figures["frames"], figures["windows"], figures["passes"]) == (9, 9, 9 * 6)
    assert figures["prefill_tokens"] == 9 * (3 * (12 + 16) - 1)
    assert read_video(out).shape == (4 + 9, *SIZE, 3)
    world = world_of(files)
    blocks = world.read_actions(files[1])
    prompt = world.tokenizer.encode(np.stack(list(world.read_frames(files[1]))[:4]))
    rollout = compile_rollout(TINY.layout(1), Diagonal(k=1), frames=9, prompt_frames=4)
    sampler = sampler_for("wham", temperature=0.5, top_p=0.9)
    want = roll(rollout, world.model, prompt, blocks, sampler=sampler, seed=3).tokens[0]
    np.testing.assert_array_equal(np.load(tokens), want)
    assert len(np.unique(want)) > 20


def test_a_size_that_nobody_published(files: WhamFiles, tmp_path: Path) -> None:
    """The file of its sizes says the heads, instead of the checkpoint's notes."""
    config = tmp_path / "sizes.json"
    config.write_text(json.dumps(asdict(replace(TINY, n_head=8))))
    kept = []
    for more in ((), ("--config", config)):
        asked = wham_arguments(files, tmp_path / "out.mp4", "--frames", 1, "--k", 1, "--tokens", tmp_path / "t.npy")
        code, said = invoke(*asked, *more)
        assert code == 0, said
        kept.append(np.load(tmp_path / "t.npy"))
    assert (kept[0] != kept[1]).any()
    world = load_world("wham", weights=files[0], config=config)
    plan = compile_rollout(TINY.layout(1), Diagonal(k=1), frames=1, prompt_frames=4)
    prompt = world.tokenizer.encode(np.stack(list(world.read_frames(files[1]))[:4]))
    want = roll(plan, world.model, prompt, world.read_actions(files[1])[:4]).tokens[0]
    np.testing.assert_array_equal(kept[1], want)


def test_a_window_that_keeps_less(files: WhamFiles, tmp_path: Path) -> None:
    tokens = "--tokens", tmp_path / "tokens.npy"
    code, said = invoke(*wham_arguments(files, tmp_path / "out.mp4", "--keep", 2, "--frames", 6, *tokens, "--json"))
    assert code == 0, said
    figures = json.loads(said)
    assert (figures["frames"], figures["windows"], figures["passes"]) == (6, 3, 6 * 12)
    world = world_of(files)
    rollout = compile_rollout(TINY.layout(2), NextToken(), frames=6, prompt_frames=4)
    prompt = world.tokenizer.encode(np.stack(list(world.read_frames(files[1]))[:4]))
    want = roll(rollout, world.model, prompt, world.read_actions(files[1])[:9]).tokens[0]
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy"), want)


def test_one_window_is_one_plan(files: WhamFiles, tmp_path: Path) -> None:
    """Within the context nothing slides, and a plan file does the same."""
    paths = tmp_path / "a.npy", tmp_path / "b.npy"
    within = ["--prompt-frames", 1, "--frames", 3, "--k", 1]
    code, said = invoke(*wham_arguments(files, tmp_path / "a.mp4", *within, "--tokens", paths[0], "--json"))
    assert code == 0, said
    assert "windows" not in json.loads(said)
    plan = tmp_path / "plan.json"
    sizes = ["--rows", 3, "--cols", 4, "--between-frames", 16, "--frames", 3, "--prompt-frames", 1]
    code, out = invoke("compile", *sizes, "--k", 1, "-o", plan)
    assert code == 0, out
    code, said = invoke(*wham_arguments(files, tmp_path / "b.mp4", "--plan", plan, "--tokens", paths[1]))
    assert code == 0, said
    np.testing.assert_array_equal(np.load(paths[0]), np.load(paths[1]))


@pytest.mark.slow
def test_the_same_on_onnx_runtime(files: WhamFiles, tmp_path: Path) -> None:
    """Transformer and image tokenizer exported: the tokens and the pictures are torch's."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    checkpoint, play = files
    model = tmp_path / "exported"
    both = ["--weights", checkpoint, "--tokenizer", checkpoint]
    code, said = invoke("export-onnx", "--adapter", "wham", *both, "-o", model)
    assert code == 0, said
    same = ["--k", 1, "--frames", 5, "--seed", 2, "--temperature", 0.9]
    code, said = invoke(*wham_arguments(files, tmp_path / "a.mp4", "--tokens", tmp_path / "a.npy", *same))
    assert code == 0, said
    code, said = invoke(
        *("generate", "--backend", "onnx", "--model", model, "--video", play, "--actions", play),
        *("-o", tmp_path / "b.mp4", "--tokens", tmp_path / "b.npy", *same),
    )
    assert code == 0, said
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    difference = read_video(tmp_path / "a.mp4").astype(int) - read_video(tmp_path / "b.mp4")
    assert abs(difference).max() < 16
    mixed = ["--backend", "onnx", "--model", "wham", "--weights", model, "--tokenizer", checkpoint]
    code, said = invoke(
        *("generate", *mixed, "--video", play, "--actions", play, "-o", tmp_path / "c.mp4"),
        *("--tokens", tmp_path / "c.npy", *same),
    )
    assert code == 0, said
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "c.npy"))


def test_too_little_memory_is_said_before_anything_is_loaded(
    files: WhamFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate counts the image tokenizer, which the check leaves out: it is loaded by then."""
    code, said = invoke(*wham_arguments(files, tmp_path / "a.mp4", "--frames", 1, "--json"))
    assert code == 0, said
    memory = json.loads(said)["memory"]
    assert memory["tokenizer"] == 4 * sum(int(np.prod(shape)) for shape in VISION.shapes().values())
    assert memory["weights"] == world_of(files).model.weight_bytes()
    rest = sum(memory.values()) - memory["tokenizer"]
    monkeypatch.setattr("diagplan.models.estimates.free_memory", lambda _: rest // 2)

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the transformer was loaded")

    monkeypatch.setattr("diagplan.worlds.source.load_model_as", loaded)
    out = tmp_path / "out.mp4"
    code, said = invoke(*wham_arguments(files, out, "--frames", 1))
    assert code == 1
    assert re.search("expected room on cpu for .* Nothing was loaded", said)
    assert said.count("\n") == 1
    assert not out.exists()


def no_actions(given: list[object]) -> list[object]:
    at = given.index("--actions")
    return given[:at] + given[at + 2 :]


def no_weights(given: list[object]) -> list[object]:
    at = given.index("--weights")
    return given[:at] + given[at + 2 :]


def another_size(given: list[object]) -> list[object]:
    return ["wham-200m" if value == "wham" else value for value in given]


def more(*options: object) -> Callable[[list[object]], list[object]]:
    return lambda given: [*given, *options]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (no_actions, 2, "expected actions, which lead wham from frame to frame, got none. Give their file."),
        (no_weights, 1, "expected the weights of wham, WHAM_200M.ckpt, got none. "),
        (another_size, 1, "expected wham-200m, "),
        (more("--keep", "4"), 2, "expected to keep 1 to 3 of 4 frames, got keep=4."),
        (more("--prompt-frames", "5"), 2, "at most 4 prompt frames"),
        (more("--frames", "1000000000"), 1, "expected 1000000003 actions for 4 given"),
        (more("--frames", "30"), 1, "expected 33 actions for 4 given and 30 generated frames, got 12."),
        (more("--backend", "onnx"), 1, "expected the image tokenizer beside an exported transformer, got none."),
        (more("--text", "a fox", "--text-encoder", "t5"), 2, "expected --text with a Video2World model, got it with"),
        (more("--text", "a fox"), 2, "expected --text and --text-encoder together, got one of them."),
        (
            more("--context", "t.npy"),
            2,
            "expected a text for Cosmos Video2World models only, got one with model='wham'.",
        ),
    ],
)
def test_one_clear_line(
    files: WhamFiles, tmp_path: Path, change: Callable[[list[object]], list[object]], code: int, words: str
) -> None:
    out = tmp_path / "out.mp4"
    got, said = invoke(*change(wham_arguments(files, out)))
    assert got == code
    assert words in said
    assert said.count("\n") == 1
    assert not out.exists()
