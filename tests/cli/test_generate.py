"""`diagplan generate`: the shipped model on its bundled clip, and every way to go wrong."""

import json
import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, NextToken, compile_plan, replay, write_plan  # noqa: E402
from diagplan.backends.promise import Grade  # noqa: E402
from diagplan.evaluation.pictures import psnr  # noqa: E402
from diagplan.video.files import VideoWriter, read_video  # noqa: E402
from diagplan.video.frames import fit  # noqa: E402
from diagplan.worlds import SHIPPED, World  # noqa: E402
from diagplan.worlds.generation import compile_for, generate  # noqa: E402
from tests.support.cli import run  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"
ACTIONS = CLIP.with_suffix(".jsonl")


def command(folder: Path, *more: object, video: Path = CLIP, actions: Path = ACTIONS) -> list[object]:
    return ["generate", "--video", video, "--actions", actions, "-o", folder / "out.mp4", *more]


def test_a_clip_becomes_a_video(tmp_path: Path, world: World) -> None:
    code, out, err = run(
        *command(tmp_path, "--k", 2, "--frames", 3, "--frames-dir", tmp_path / "frames", "--gif", tmp_path / "out.gif"),
        *("--tokens", tmp_path / "tokens.npy", "--json"),
    )
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures["passes"] == compile_for(world, 3, Diagonal(k=2)).steps == 84
    assert figures["shape"] == [3, 144, 192, 3]
    frames = read_video(tmp_path / "out.mp4")
    assert frames.shape == (4, 144, 192, 3)  # the prompt first
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [f"000{i}.png" for i in range(4)]
    assert (tmp_path / "out.gif").read_bytes()[:6] == b"GIF89a"
    tokens = np.load(tmp_path / "tokens.npy")
    assert psnr(world.tokenizer.decode(tokens), frames[1:]) > 25  # H.264 lies between


def test_the_same_tokens_from_a_plan_file_and_on_every_run(tmp_path: Path, world: World) -> None:
    write_plan(compile_for(world, 2, Diagonal(k=4)), tmp_path / "plan.json")
    kept = []
    for more in (("--k", 4, "--frames", 2), ("--plan", tmp_path / "plan.json"), ("--plan", tmp_path / "plan.json")):
        assert run(*command(tmp_path, *more, "--tokens", tmp_path / "t.npy"))[0] == 0
        kept.append((tmp_path / "t.npy").read_bytes())
    assert kept[0] == kept[1] == kept[2]


def test_sampling_is_keyed_by_the_seed(tmp_path: Path) -> None:
    kept = []
    for seed in (0, 0, 1):
        assert (
            run(
                *command(
                    tmp_path,
                    "--k",
                    1,
                    "--frames",
                    1,
                    "--temperature",
                    5,
                    "--seed",
                    seed,
                    "--tokens",
                    tmp_path / "t.npy",
                )
            )[0]
            == 0
        )
        kept.append(np.load(tmp_path / "t.npy"))
    assert (kept[0] == kept[1]).all()
    assert (kept[0] != kept[2]).any()


def test_a_window_slides_beyond_the_context(tmp_path: Path, world: World) -> None:
    """Eight frames are the context; the window keeps five and makes three at a time."""
    paths = tmp_path / "long.npy", tmp_path / "short.npy"
    actions = tmp_path / "long.jsonl"
    actions.write_text("".join(f'{{"action": "{name}"}}\n' for name in ("move_left", "move_up", "noop") * 4))
    asked = command(tmp_path, "--keep", 5, "--frames", 12, "--k", 2, "--tokens", paths[0], "--json", actions=actions)
    code, out, err = run(*asked)
    assert code == 0, err
    figures = json.loads(out)
    assert (figures["frames"], figures["windows"]) == (12, 3)
    assert len(read_video(tmp_path / "out.mp4")) == 13
    code, _, err = run(*command(tmp_path, "--frames", 7, "--k", 2, "--tokens", paths[1], actions=actions))
    assert code == 0, err
    tokens = np.load(paths[0])
    np.testing.assert_array_equal(tokens[:7], np.load(paths[1]))  # the first window is the plan of the whole context
    blocks = world.read_actions(actions)
    window = compile_for(world, 3, Diagonal(k=2), prompt_frames=5)
    later = replay(window, world.model, tokens[2:7], blocks[3:10])[0]
    np.testing.assert_array_equal(tokens[7:10], later)


def test_any_size_is_scaled_and_cut(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 90, 250, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "wide.mp4") as video:
        video.add(frames[0])
    code, _, err = run(*command(tmp_path, "--k", 1, "--frames", 1, video=tmp_path / "wide.mp4"))
    assert code == 0
    assert "frames of 250 x 90 are scaled and cut to 192 x 144" in err
    assert fit(frames[0], 144, 192).shape == (144, 192, 3)


@pytest.mark.parametrize(
    ("video", "actions", "more", "code", "said"),
    [
        ("none.mp4", None, (), 1, "cannot read the video"),
        ("short.mp4", None, (), 1, "cannot read the video"),
        (None, "none.jsonl", (), 1, "cannot read the actions"),
        (None, "few.jsonl", ("--frames", 3), 1, "expected 3 actions for 1 given and 3 generated frames, got 2"),
        (None, "unknown.jsonl", (), 1, "got fly"),
        (None, "broken.jsonl", (), 1, "line 2"),
        (None, None, ("--frames", 8), 2, "expected at most 8 frames, prompt included, got 1 + 8"),
        (None, None, ("--prompt-frames", 9), 2, "Give more actions or fewer prompt frames"),
        ("one.mp4", None, ("--prompt-frames", 2), 2, "expected at least 2 frames, got 1"),
        (None, None, ("--d", 3), 2, "got --d 3"),
        (None, None, ("--model", "nothing"), 2, "expected one of crafter-mini, mc-ar"),
        (None, None, ("--model", "mc-ar"), 1, "microsoft/mineworld"),
        (None, None, ("--weights", "x"), 2, "with a release only"),
        (None, None, ("--device", "zork"), 2, "expected a device of this machine"),
        (None, None, ("--seed", 2**80), 2, "expected 0 <= seed"),
        (None, None, ("--gif", CLIP), 2, "got --video and --gif both"),
        (None, None, ("--plan", "x", "--prompt-frames", 1), 2, "got both"),
        (None, None, ("-o", "out.gif"), 2, "expected a name ending in .mp4 for -o, got out.gif"),
        (None, None, ("--model", "x" * 5000), 2, "expected one of crafter-mini"),
    ],
)
def test_one_clear_line(
    tmp_path: Path, video: str | None, actions: str | None, more: tuple[object, ...], code: int, said: str
) -> None:
    data = CLIP.read_bytes()
    (tmp_path / "short.mp4").write_bytes(data[: len(data) // 3])
    with VideoWriter(tmp_path / "one.mp4") as writer:
        writer.add(read_video(CLIP, limit=1)[0])
    lines = ACTIONS.read_text().splitlines()
    (tmp_path / "few.jsonl").write_text("\n".join(lines[:2]))
    (tmp_path / "unknown.jsonl").write_text('{"action": "fly"}\n' * 7)
    (tmp_path / "broken.jsonl").write_text(lines[0] + "\n{")
    got, _, err = run(
        *command(
            tmp_path,
            *more,
            video=CLIP if video is None else tmp_path / video,
            actions=ACTIONS if actions is None else tmp_path / actions,
        )
    )
    assert got == code
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.glob(".*"))  # nothing half-written


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, _, err = run(*command(tmp_path, "--frames", 1, "--k", 1))
    assert code == 1
    assert "expected -o in a folder that may be written to" in err


def test_a_missing_folder(tmp_path: Path) -> None:
    code, _, err = run(*command(tmp_path / "none", "--frames", 1, "--k", 1))
    assert code == 1
    assert "expected -o in a folder that is there, got" in err


def test_interrupted_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate

    def stopped(*args: Any, on_frame: Any, **options: Any) -> Any:
        def stop(number: int, frame: Any) -> None:
            on_frame(number, frame)
            if number == 1:
                raise KeyboardInterrupt

        return whole(*args, on_frame=stop, **options)

    monkeypatch.setattr("diagplan.worlds.videos.generate", stopped)
    code, _, err = run(*command(tmp_path, "--k", 2))
    assert code == 130
    assert "holds the prompt and the 2 frames that were finished" in err
    assert len(read_video(tmp_path / "out.mp4")) == 3


def test_interrupted_before_a_frame_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("diagplan.worlds.videos.generate", stopped)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    pictures = tmp_path / "pictures"
    code, out, err = run(*command(tmp_path, "--k", 2, "--json", "--frames-dir", pictures))
    assert (code, err) == (130, "")
    assert json.loads(out) == {"ok": False, "error": "interrupted; no file was changed."}
    pictures.rmdir()  # it is empty
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("given", [{"prompt_frames": 1}, {"lead": 1}])
def test_a_plan_of_another_grid(tmp_path: Path, given: dict[str, int]) -> None:
    from diagplan import Layout

    write_plan(compile_plan(Layout(frames=1, rows=4, cols=4, **given), Diagonal(k=1)), tmp_path / "plan.json")
    code, _, err = run(*command(tmp_path, "--plan", tmp_path / "plan.json"))
    assert code == 1
    assert "expected a plan for crafter-mini's layout" in err


def test_exact_is_next_token_prediction(tmp_path: Path, world: World) -> None:
    """The tokens of one pass a token, in a small part of its passes."""
    plan = compile_for(world, 2, NextToken())
    kept = []
    for more in ((), ("--exact",), ("--speculate", 40)):
        code, out, _ = run(
            *command(tmp_path, "--frames", 2, "--temperature", 1, *more, "--tokens", tmp_path / "t.npy", "--json")
        )
        assert code == 0
        figures = json.loads(out)
        assert ("promise" in figures, figures.get("draft")) == ((True, "previous-frame") if more else (False, None))
        assert not more or figures["promise"]["grade"] in get_args(Grade)
        kept.append(((tmp_path / "t.npy").read_bytes(), figures["passes"]))
    assert [tokens for tokens, _ in kept] == [kept[0][0]] * 3
    assert kept[0][1] == plan.steps
    assert max(passes for _, passes in kept[1:]) < plan.steps / 8


@pytest.mark.parametrize("more", [(), ("--keep", 2)])
def test_tokens_are_checked(tmp_path: Path, more: tuple[object, ...]) -> None:
    """In one window, or in windows that slide."""
    longer = tmp_path / "actions.jsonl"
    longer.write_text(2 * (ACTIONS.read_text().rstrip() + "\n"))
    usual = ("--frames", 9 if more else 2, *more, "--speculate", 40, "--check-exact")
    code, out, _ = run(*command(tmp_path, *usual, "--json", actions=longer))
    assert code == 0, out
    check = json.loads(out)["check"]
    assert (check["ok"], check["tokens"]) == (True, 108 * (9 if more else 2))
    assert check["largest"] < 1e-3
    assert json.loads(out)["window"] == 40
    assert json.loads(out)["promise"]["places"] > 0
