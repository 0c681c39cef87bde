"""`diagplan generate`: the shipped model on its bundled clip, and every way to go wrong."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import Diagonal, NextToken, compile_plan, replay, write_plan  # noqa: E402
from diagplan.adapters.mc_ar import McArConfig, random_weights  # noqa: E402
from diagplan.evaluation.motion import MOVES, best_move, clear_moves, matches  # noqa: E402
from diagplan.evaluation.pictures import psnr  # noqa: E402
from diagplan.games.clips import Clip, read_clip, write_clip  # noqa: E402
from diagplan.planner.errors import DiagplanError, DocumentError  # noqa: E402
from diagplan.planner.schedule import Imported  # noqa: E402
from diagplan.study.world_report import read_windows  # noqa: E402
from diagplan.video.files import VideoWriter, read_video  # noqa: E402
from diagplan.video.frames import fit  # noqa: E402
from diagplan.worlds import SHIPPED, World, load_world  # noqa: E402
from diagplan.worlds.generation import compile_for, generate, prompt_tokens  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402
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


def test_the_world_moves_as_the_player_moved(world: World) -> None:
    clip = read_clip(CLIP)
    blocks = world.read_actions(ACTIONS)
    assert world.words is not None
    ids = world.words.ids
    swapped = blocks.copy()
    swapped[:, 1] = [ids[world.words.opposites[name]] for name in clip.actions]
    truth = prompt_tokens(world, clip.frames)[:, :7]
    moved = np.array(clip.moved)
    counts = clear_moves(truth[:-1], truth[1:], moved)
    assert counts.sum() >= 4
    for schedule in (NextToken(), Diagonal(k=2)):
        shares = []
        for played in (blocks, swapped):
            made = generate(compile_for(world, 7, schedule), world, clip.frames[:1], played)
            tokens = np.concatenate([prompt_tokens(world, clip.frames[:1]), made.tokens])[:, :7]
            best = np.array(list(MOVES.values()))[best_move(tokens[:-1], tokens[1:])]
            shares.append((best[counts] == moved[counts]).all(1).mean())
        assert shares[0] >= 0.8
        assert shares[1] <= 0.2  # with the opposite actions it moves the other way


def test_frames_come_out_as_they_are_finished(world: World) -> None:
    clip, seen = read_clip(CLIP), []
    plan = compile_for(world, 3, Diagonal(k=1, d=12))
    done = generate(
        plan, world, clip.frames[:1], world.read_actions(ACTIONS), on_frame=lambda i, frame: seen.append((i, frame))
    )
    assert [number for number, _ in seen] == [0, 1, 2]
    np.testing.assert_array_equal(np.stack([frame for _, frame in seen]), done.frames)
    again = world.tokenizer.decode(done.tokens)  # a convolution rounds otherwise where it has more frames at once
    np.testing.assert_allclose(again.astype(int), done.frames, atol=1)


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
        (None, None, ("-o", "out.gif"), 2, "ends in .mp4"),
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
    assert "cannot write" in err


def test_a_missing_folder(tmp_path: Path) -> None:
    code, _, err = run(*command(tmp_path / "none", "--frames", 1, "--k", 1))
    assert code == 1
    assert "cannot write" in err


def test_interrupted_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import diagplan.worlds.generation

    whole = diagplan.worlds.generation.generate

    def stopped(*args: Any, on_frame: Any, **options: Any) -> Any:
        def stop(number: int, frame: Any) -> None:
            on_frame(number, frame)
            if number == 1:
                raise KeyboardInterrupt

        return whole(*args, on_frame=stop, **options)

    monkeypatch.setattr(diagplan.worlds.generation, "generate", stopped)
    code, _, err = run(*command(tmp_path, "--k", 2))
    assert code == 130
    assert "holds the prompt and the 2 frames that were finished" in err
    assert len(read_video(tmp_path / "out.mp4")) == 3


def test_frames_of_an_imported_order_come_in_turn(world: World) -> None:
    """The second frame is complete first, and shown second."""
    layout = world.layout(2)
    turns = np.arange(layout.tokens).reshape(2, -1)[::-1].reshape(2, layout.rows, layout.cols)
    prompt = read_video(CLIP, limit=1)
    done = generate(compile_plan(layout, Imported(steps=turns)), world, prompt, world.read_actions(ACTIONS))
    np.testing.assert_array_equal(done.frames[0], world.tokenizer.decode(done.tokens[:1])[0])
    assert (done.frames[0] != done.frames[1]).any()


def test_interrupted_before_a_frame_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import diagplan.worlds.generation

    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(diagplan.worlds.generation, "generate", stopped)
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
    from diagplan import Layout, compile_plan

    write_plan(compile_plan(Layout(frames=1, rows=4, cols=4, **given), Diagonal(k=1)), tmp_path / "plan.json")
    code, _, err = run(*command(tmp_path, "--plan", tmp_path / "plan.json"))
    assert code == 1
    assert "expected a plan for crafter-mini's layout" in err


def test_release_files_generate_too(tmp_path: Path) -> None:
    """The release's forms at small widths: a .ckpt, a config, a tokenizer's folder, actions as VPT records them."""
    from diagplan.adapters.image_tokenizer import vq_class

    config = McArConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=8262, max_position_embeddings=3 * 347, image_vocab=8192,
    )  # fmt: skip
    weights = {f"transformer.{name}": tensor for name, tensor in random_weights(config).items()}
    write_torch(weights, tmp_path / "tiny.ckpt")
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "vocab_size", "max_position_embeddings")  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({key: getattr(config, key) for key in keys}))
    torch.manual_seed(0)
    channels = [4] * 5
    model = vq_class()(
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * 5,
        up_block_types=["UpDecoderBlock2D"] * 5, latent_channels=4, num_vq_embeddings=8192, vq_embed_dim=64,
        norm_num_groups=2,
    )  # fmt: skip
    vae = tmp_path / "vae"
    vae.mkdir()
    said = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    (vae / "config.json").write_text(json.dumps(said))
    torch.save(model.state_dict(), vae / "vae.ckpt")
    press = {"keyboard": {"keys": ["key.keyboard.w"]}, "mouse": {"dx": 0, "dy": 0, "buttons": []}}
    (tmp_path / "scene.jsonl").write_text(f"{json.dumps(press)}\n" * 2)
    options = ("--model", "mc-ar", "--weights", tmp_path / "tiny.ckpt", "--tokenizer", vae, "--frames", 2, "--k", 2)
    code, _, err = run(
        *command(tmp_path, *options, "--config", tmp_path / "config.json", actions=tmp_path / "scene.jsonl")
    )
    assert code == 0, err
    assert read_video(tmp_path / "out.mp4").shape == (3, 224, 384, 3)


def test_motion_is_judged_by_what_explains_the_picture() -> None:
    random = np.random.default_rng(0)
    field = random.integers(0, 50, (1, 20, 20))
    before = field[:, 5:12, 4:16]
    for name, (right, down) in MOVES.items():
        after = field[:, 5 + down : 12 + down, 4 + right : 16 + right]
        assert list(MOVES)[best_move(before, after)[0]] == name
        assert matches(before, after)[0].max() == 1
        counted = clear_moves(before, after, np.array([[right, down]]))
        assert counted[0] == (name != "still")
        assert not clear_moves(before, after, np.array([[-right, -down]])).any() or name == "still"
    grass = np.zeros((1, 7, 12), int)
    assert not clear_moves(grass, grass, np.array([[1, 0]])).any()  # looks alike whatever the move


def test_a_clip_that_lacks_motion_is_refused(tmp_path: Path, world: World) -> None:
    clip = read_clip(CLIP)
    still = Clip(frames=np.repeat(clip.frames[:1], 8, 0), actions=("noop",) * 7, moved=((0, 0),) * 7)
    write_clip(tmp_path / "still.mp4", still)
    with pytest.raises(ValueError, match="with motion, got none"):
        read_windows(world, [tmp_path / "still.mp4"], 4)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("world.json", {"rows": 8}),
        ("world.json", {"context_frames": 9}),
        ("config.json", {"image_vocab": 275}),
        ("config.json", {"action_tokens": 11}),
    ],
)
def test_files_that_do_not_belong_together(tmp_path: Path, file: str, change: dict[str, int]) -> None:
    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DocumentError, match="do not belong together"):
        load_world(str(tmp_path / "world"))


def test_ids_and_keys_of_a_world(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / "world.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"actions": said["actions"] | {"begin": 0}}))
    with pytest.raises(DocumentError, match="ids of actions"):
        load_world(str(tmp_path / "world"))
    path.write_text(json.dumps(said | {"wings": 2}))
    with pytest.raises(DocumentError, match="wings: Extra inputs"):
        load_world(str(tmp_path / "world"))


@pytest.mark.parametrize(
    ("file", "said"),
    [("model.safetensors", "finite logits"), ("tokenizer/diffusion_pytorch_model.safetensors", "finite weights")],
)
def test_weights_that_are_no_numbers(tmp_path: Path, file: str, said: str) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(SHIPPED["crafter-mini"], tmp_path / "world")
    path = tmp_path / "world" / file
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(("lm_head.weight", "decoder.conv_out.weight")))
    save_file(tensors | {name: tensors[name] * float("nan")}, path)
    with pytest.raises(DiagplanError, match=said):
        load_world(str(tmp_path / "world"))


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(DiagplanError, match="a video needs a file of its own"):
        VideoWriter("/dev/null")
    assert not Path("/dev/null").is_file()
