"""Gameplay from WHAM's files to a video: recorded actions, a window that slides, and the same on ONNX Runtime."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("av")

from diagplan import Diagonal, NextToken, compile_rollout, load_world, roll  # noqa: E402
from diagplan.adapters.wham import WhamConfig, random_weights  # noqa: E402
from diagplan.adapters.wham_actions import decode_actions  # noqa: E402
from diagplan.adapters.wham_recordings import read_actions  # noqa: E402
from diagplan.adapters.wham_tokenizer import WhamTokenizerConfig  # noqa: E402
from diagplan.models.sampling import sampler_for  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from tests.support.cli import invoke  # noqa: E402
from tests.support.wham_files import write_lightning  # noqa: E402

#: A grid of 3 x 4 tokens and a window of four frames.
TINY = WhamConfig(n_layer=1, n_head=16, n_embd=32, seq_len=4, rows=3, cols=4, image_codes=64)
VISION = WhamTokenizerConfig(
    rows=3, cols=4, width=32, encoder_layers=1, decoder_layers=1, code_dim=4, codes=64, head_size=16
)
#: At 10 pixels a token.
SIZE = (30, 40)
AXES = {"image_size_per_x_axis": SIZE[1], "image_size_per_y_axis": SIZE[0]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkpoint as it is published, and a recording of the sample data's form: 12 frames, 12 actions."""
    generator = torch.Generator().manual_seed(1)
    vision = {f"context_encoders.images.{n}": torch.randn(s, generator=generator) for n, s in VISION.shapes().items()}
    weights = {f"predictor.gpt_model.{name}": w.clone() for name, w in random_weights(TINY).items()}
    checkpoint = write_lightning(tmp_path / "tiny.ckpt", monkeypatch, weights | vision, **AXES)
    random = np.random.default_rng(0)
    actions = np.concatenate([random.integers(0, 2, (12, 12)), random.integers(0, 11, (12, 4))], axis=1)
    np.savez(
        tmp_path / "play.npz",
        images=random.integers(0, 256, (12, 3, *SIZE)).astype(np.uint8),
        actions=actions.astype(np.float32),
    )
    return checkpoint, tmp_path / "play.npz"


def arguments(files: tuple[Path, Path], out: Path, *more: object) -> list[object]:
    checkpoint, play = files
    given = ["generate", "--model", "wham", "--weights", checkpoint, "--video", play, "--actions", play, "-o", out]
    return [*given, *more]


def world_of(files: tuple[Path, Path]) -> Any:
    return load_world("wham", weights=files[0])


def test_a_window_slides_to_the_end_of_the_actions(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Four frames given, twelve actions: nine frames more, one a window, as the release rolls."""
    out, tokens = tmp_path / "out.mp4", tmp_path / "tokens.npy"
    sampling = ["--temperature", 0.5, "--top-p", 0.9, "--seed", 3]
    code, said = invoke(*arguments(files, out, "--k", 1, "--tokens", tokens, *sampling, "--json"))
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


def test_a_window_that_keeps_less(files: tuple[Path, Path], tmp_path: Path) -> None:
    tokens = "--tokens", tmp_path / "tokens.npy"
    code, said = invoke(*arguments(files, tmp_path / "out.mp4", "--keep", 2, "--frames", 6, *tokens, "--json"))
    assert code == 0, said
    figures = json.loads(said)
    assert (figures["frames"], figures["windows"], figures["passes"]) == (6, 3, 6 * 12)
    world = world_of(files)
    rollout = compile_rollout(TINY.layout(2), NextToken(), frames=6, prompt_frames=4)
    prompt = world.tokenizer.encode(np.stack(list(world.read_frames(files[1]))[:4]))
    want = roll(rollout, world.model, prompt, world.read_actions(files[1])[:9]).tokens[0]
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy"), want)


def test_one_window_is_one_plan(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Within the context nothing slides, and a plan file does the same."""
    paths = tmp_path / "a.npy", tmp_path / "b.npy"
    within = ["--prompt-frames", 1, "--frames", 3, "--k", 1]
    code, said = invoke(*arguments(files, tmp_path / "a.mp4", *within, "--tokens", paths[0], "--json"))
    assert code == 0, said
    assert "windows" not in json.loads(said)
    plan = tmp_path / "plan.json"
    sizes = ["--rows", 3, "--cols", 4, "--between-frames", 16, "--frames", 3, "--prompt-frames", 1]
    code, out = invoke("compile", *sizes, "--k", 1, "-o", plan)
    assert code == 0, out
    code, said = invoke(*arguments(files, tmp_path / "b.mp4", "--plan", plan, "--tokens", paths[1]))
    assert code == 0, said
    np.testing.assert_array_equal(np.load(paths[0]), np.load(paths[1]))


def test_the_same_on_onnx_runtime(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Transformer and image tokenizer exported: the tokens and the pictures are torch's."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    checkpoint, play = files
    model = tmp_path / "exported"
    both = ["--weights", checkpoint, "--tokenizer", checkpoint]
    code, said = invoke("export-onnx", "--adapter", "wham", *both, "-o", model)
    assert code == 0, said
    same = ["--k", 1, "--frames", 5, "--seed", 2, "--temperature", 0.9]
    code, said = invoke(*arguments(files, tmp_path / "a.mp4", "--tokens", tmp_path / "a.npy", *same))
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
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate counts the image tokenizer, which the check leaves out: it is loaded by then."""
    code, said = invoke(*arguments(files, tmp_path / "a.mp4", "--frames", 1, "--json"))
    assert code == 0, said
    memory = json.loads(said)["memory"]
    assert memory["tokenizer"] == 4 * sum(int(np.prod(shape)) for shape in VISION.shapes().values())
    assert memory["weights"] == world_of(files).model.weight_bytes()
    rest = sum(memory.values()) - memory["tokenizer"]
    monkeypatch.setattr("diagplan.models.estimates.free_memory", lambda _: rest // 2)

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the transformer was loaded")

    monkeypatch.setattr("diagplan.worlds.source.load_model", loaded)
    out = tmp_path / "out.mp4"
    code, said = invoke(*arguments(files, out, "--frames", 1))
    assert code == 1
    assert re.search("expected room on cpu for .* Nothing was loaded", said)
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_tokenizer_of_another_grid(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tokens, in other rows: the file's own notes say so."""
    generator = torch.Generator().manual_seed(1)
    vision = {f"context_encoders.images.{n}": torch.randn(s, generator=generator) for n, s in VISION.shapes().items()}
    turned = {"image_size_per_x_axis": SIZE[0], "image_size_per_y_axis": SIZE[1]}
    other = write_lightning(tmp_path / "other.ckpt", monkeypatch, vision, **turned)
    code, said = invoke(*arguments(files, tmp_path / "out.mp4", "--tokenizer", other))
    assert (code, "expected an image tokenizer of 3 x 4 tokens, got one of 4 x 3" in said) == (1, True), said


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
        (no_actions, 2, "expected actions, which lead wham from frame to frame, got none. Give --actions."),
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
    files: tuple[Path, Path], tmp_path: Path, change: Callable[[list[object]], list[object]], code: int, words: str
) -> None:
    out = tmp_path / "out.mp4"
    got, said = invoke(*change(arguments(files, out)))
    assert got == code
    assert words in said
    assert said.count("\n") == 1
    assert not out.exists()


# Actions


def test_actions_in_all_three_forms(files: tuple[Path, Path], tmp_path: Path) -> None:
    blocks = read_actions(files[1])
    np.save(tmp_path / "play.npy", decode_actions(blocks))
    np.testing.assert_array_equal(read_actions(tmp_path / "play.npy"), blocks)
    lines = tmp_path / "play.jsonl"
    lines.write_text('{"buttons": [1,0,0,0,0,0,0,0,0,0,0,1], "sticks": [0, 1.0, -1, 0.1]}\n\n')
    np.testing.assert_array_equal(decode_actions(read_actions(lines)), [[1, *[0] * 10, 1, 5, 10, 0, 6]])
    lines.write_text("\n")
    assert read_actions(lines).shape == (0, 16)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", "{}", "on each line, got another one at"),
        ("a.jsonl", '{"buttons": [0], "sticks": [0, 0, 0, 0]}', "on each line, got another one at"),
        ("a.jsonl", '{"buttons": [2,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,0]}', "expected buttons as 0 or 1"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,2]}', "positions from -1 to 1"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,0], "sticks": [0,0,0,NaN]}', "got another one at"),
        ("a.jsonl", '{"buttons": [0,0,0,0,0,0,0,0,0,0,0,true], "sticks": [0,0,0,0]}', "got another one at"),
        ("a.jsonl", "[" * 100_000, "line 1"),
        ("a.jsonl", "\udcff", "not UTF-8"),
        ("a.npy", "no numpy", "expected a .npy of actions, got"),
        ("a.npz", "no zip", "expected a .npz with images and actions"),
        ("none.jsonl", None, "cannot read the actions"),
    ],
)
def test_actions_that_are_none(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DocumentError, match=words.replace(".", r"\.")):
        read_actions(tmp_path / name)


def test_an_array_of_other_actions(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 16), 7))
    with pytest.raises(DocumentError, match="expected 0 or 1 for button 0, got 7"):
        read_actions(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((16,)))
    with pytest.raises(DocumentError, match=r"expected actions as numbers \[T, 16\]"):
        read_actions(tmp_path / "a.npy")
