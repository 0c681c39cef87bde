"""A clip from Cosmos' files to a video, with the stand-in tokenizer: frames given, a text, and on ONNX Runtime."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("safetensors")


from diagplan import Diagonal, compile_plan, generate, load_world, replay  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.video.frames import fit  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.cosmos_files import write_t5  # noqa: E402
from tests.support.cosmos_world import cosmos_arguments, cosmos_world, write_cosmos_world  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cosmos_world(tmp_path_factory.mktemp("cosmos"))


@pytest.mark.parametrize(("given", "latents"), [(None, 2), (9, 2), (1, 1)])
def test_a_clip_becomes_a_video(files: Path, tmp_path: Path, given: int | None, latents: int) -> None:
    out, tokens = tmp_path / "out.mp4", tmp_path / "tokens.npy"
    asked = [] if given is None else ["--prompt-frames", given]
    code, said = invoke(*cosmos_arguments(files, out, "--k", 1, "--d", 2, "--tokens", tokens, "--json", *asked))
    assert code == 0, said
    pixels = 1 + 8 * (latents - 1)
    world = cosmos_world(files)
    plan = compile_plan(world.config.layout(latents), Diagonal(k=1, d=2))
    figures = json.loads(said)
    assert (figures["frames"], figures["passes"]) == (33 - pixels, plan.steps)
    frames = np.stack([fit(frame, 48, 64) for frame in read_video(files / "video.mp4", limit=pixels)])
    prompt = world.tokenizer.encode_prompt(frames)
    want = replay(plan, world.model, prompt)[0]
    np.testing.assert_array_equal(np.load(tokens), want)
    video = read_video(out)
    assert video.shape == (33, 48, 64, 3)
    pictures = world.tokenizer.decode(np.concatenate([prompt, want]))[pixels:]
    assert abs(video[pixels:].astype(int) - pictures).mean() < 8  # H.264 lies between


def test_a_text_leads(files: Path, tmp_path: Path) -> None:
    """Features of a file, and those that a T5 makes of a text, give other tokens; begin-of-video is fed."""
    t5 = write_t5(tmp_path / "t5")
    tokens: list[Any] = []
    for options in (["--context", files / "text.npy"], ["--text", "a robot", "--text-encoder", t5]):
        path = tmp_path / f"{len(tokens)}.npy"
        code, said = invoke(
            *cosmos_arguments(files, tmp_path / "out.mp4", "--k", 1, "--tokens", path, *options, model="text")
        )
        assert code == 0, said
        tokens.append(np.load(path))
    assert (tokens[0] != tokens[1]).any()
    world = cosmos_world(files, "text", context=files / "text.npy")
    frames = np.stack([fit(frame, 48, 64) for frame in read_video(files / "video.mp4", limit=9)])
    ids = world.config.given(world.tokenizer.encode_prompt(frames))
    assert ids[0, 0] == 64_000
    want = replay(compile_plan(world.config.layout(2), Diagonal(k=1)), world.model, given=ids)[0]
    np.testing.assert_array_equal(tokens[0], want)


@pytest.mark.slow
def test_the_same_on_onnx_runtime(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = ["--adapter", "cosmos", "--weights", files / "text.safetensors", "--config", files / "text.json"]
    code, said = invoke("export-onnx", *model, "--context", files / "text.npy", "-o", tmp_path / "exported")
    assert code == 0, said
    same = ["--k", 1, "--seed", 2, "--top-p", 0.8]
    code, said = invoke(
        *("generate", "--backend", "onnx", "--model", "cosmos", "--weights", tmp_path / "exported"),
        *("--tokenizer", files / "tokenizer", "--video", files / "video.mp4", "-o", tmp_path / "b.mp4"),
        *("--tokens", tmp_path / "b.npy", *same),
    )
    assert code == 0, said
    text = ["--context", files / "text.npy"]
    code, said = invoke(
        *cosmos_arguments(files, tmp_path / "a.mp4", "--tokens", tmp_path / "a.npy", *same, *text, model="text")
    )
    assert code == 0, said
    plan = compile_plan(cosmos_world(files, "text", context=files / "text.npy").config.layout(2), Diagonal(k=1))
    world = world_of_exported(files, tmp_path / "exported")
    from diagplan.models.sampling import sampler_for

    done = generate(
        plan, world, read_video(files / "video.mp4", limit=9), sampler=sampler_for("cosmos", top_p=0.8), seed=2
    )
    np.testing.assert_array_equal(done.tokens, np.load(tmp_path / "a.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), np.load(tmp_path / "a.npy"))
    with pytest.raises(MismatchError, match="expected an exported cosmos, got one with absolute=True"):
        world_of_exported(files, tmp_path / "exported", config="base")
    with pytest.raises(SpecError, match="expected no text with backend='onnx', got one"):
        world_of_exported(files, tmp_path / "exported", context=files / "text.npy")


def world_of_exported(files: Path, folder: Path, config: str = "text", context: Any = None) -> Any:
    return load_world(
        "cosmos", weights=folder, config=files / f"{config}.json", tokenizer=files / "tokenizer", context=context,
        backend="onnx",
    )  # fmt: skip


def without(name: str) -> Callable[[list[object]], list[object]]:
    return lambda given: given[: given.index(name)] + given[given.index(name) + 2 :]


def more(*options: object) -> Callable[[list[object]], list[object]]:
    return lambda given: [*given, *options]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (without("--weights"), 1, "expected the weights of cosmos, model.pt, got none. NVIDIA publishes them"),
        (without("--tokenizer"), 1, "nvidia/Cosmos-Tokenize1-DV8x16x16-720p. Give --tokenizer FOLDER."),
        (without("--config"), 2, "expected a config for model='cosmos', got none. Name the release, cosmos-4b"),
        (
            more("--frames", "10"),
            2,
            "expected given and generated frames of a whole clip, 1 + 32 or 9 + 24, got 9 + 10",
        ),
        (more("--prompt-frames", "4"), 2, "got 4 + 29"),
        (more("--keep", "4"), 2, "expected no --keep for cosmos, got 4."),
        (more("--actions", "a.jsonl"), 2, "expected no actions, which Cosmos does not know, got a.jsonl."),
        (more("--context", "text.npy"), 2, "expected no text: cosmos reads none, got one."),
        (
            more("--text", "a", "--text-encoder", "t5"),
            2,
            "expected --text with a Video2World model, got it with cosmos.",
        ),
        (more("--prompt-frames", "33"), 2, "a context of 33 frames. Give fewer prompt frames."),
        (more("--tokens", "none/t.npy"), 1, "expected --tokens in a folder that is there, got none/t.npy."),
        (more("--tokenizer", "nowhere"), 1, "expected the video tokenizer's encoder.jit, got no file"),
    ],
)
def test_one_clear_line(
    files: Path, tmp_path: Path, change: Callable[[list[object]], list[object]], code: int, words: str
) -> None:
    out = tmp_path / "out.mp4"
    got, said = invoke(*change(cosmos_arguments(files, out)))
    assert got == code
    assert words in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_text_is_asked_for(files: Path, tmp_path: Path) -> None:
    code, said = invoke(*cosmos_arguments(files, tmp_path / "out.mp4", model="text"))
    assert (code, "expected a text for cosmos, a Video2World model, got none." in said) == (2, True)
    short = [*cosmos_arguments(files, tmp_path / "out.mp4"), "--video", files / "none.mp4"]
    code, said = invoke(*short)
    assert (code, "cannot read the video" in said) == (1, True)
