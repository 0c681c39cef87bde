"""Training: the trained pass is the adapter's, runs go on to the identical weights, the folder that comes out loads."""

import csv
import json
import shutil
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.image_tokenizer import load_image_tokenizer  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from diagplan.cli import app  # noqa: E402
from diagplan.games.clips import Clip, list_clips, write_clip  # noqa: E402
from diagplan.games.recorder import Recording  # noqa: E402
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError  # noqa: E402
from diagplan.schemas.world import WorldDocument, read_world_document  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.runs import Run, last_row  # noqa: E402
from diagplan.training.sequences import (  # noqa: E402
    TokenClips,
    read_tokens,
    tokens_key,
    write_tokens,
)
from diagplan.training.tiles import TileBank, TileCodes, load_frames  # noqa: E402
from diagplan.training.tokenizer import TokenizerRecipe, train_tokenizer  # noqa: E402
from diagplan.training.world_folder import action_words, write_world  # noqa: E402
from diagplan.training.world_model import Vocabulary, WorldRecipe, judge, train_world_model  # noqa: E402

ROWS, COLS, CODES = 4, 5, 6
TOKENIZER = TokenizerRecipe(
    codes=CODES, steps=25, whole_steps=5, batch=4, channels=(4, 8, 8), latent=4, frames_per_clip=4
)
WORLD = WorldRecipe(hidden=32, mlp=32, layers=1, heads=2, context=3, steps=60, batch=4, warm_up=5, learning_rate=1e-2)
WORDS = action_words(CODES, ["noop", "move_left", "move_right"])
LEFT, RIGHT = WORDS.ids["move_left"], WORDS.ids["move_right"]
VOCABULARY = Vocabulary(begin=WORDS.begin, end=WORDS.end, opposites={LEFT: RIGHT, RIGHT: LEFT})
CONFIG = WORLD.config(ROWS, COLS, CODES, CODES + 5)


def scrolls(clips: int, frames: int, *, seed: int = 0) -> TokenClips:
    """Rows of tokens that move under the player's feet: what comes in at the edge repeats the row."""
    random = np.random.default_rng(seed)
    line = random.integers(0, CODES, (clips, ROWS, COLS))
    steps = random.choice([-1, 1], (clips, frames - 1))
    at = np.concatenate([np.zeros((clips, 1), int), steps.cumsum(1)], axis=1)
    columns = (np.arange(COLS) + at[..., None]) % COLS  # [clips, T, cols]
    shown = np.stack([line[n][:, columns[n]].transpose(1, 0, 2) for n in range(clips)])
    moved = np.stack([steps, np.zeros_like(steps)], axis=2)
    return TokenClips(frames=shown, actions=np.where(steps < 0, LEFT, RIGHT), moved=moved)


TRAIN, VALIDATION = scrolls(40, 5), scrolls(4, 6, seed=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of tiles in six colours, 4 pixels a side."""
    folder = tmp_path_factory.mktemp("clips")
    colours = np.random.default_rng(3).integers(0, 256, (CODES, 3), dtype=np.uint8)
    for split, count in (("train", 3), ("validation", 1)):
        (folder / split).mkdir()
        played = scrolls(count, 5, seed=len(split))
        for n in range(count):
            frames = colours[played.frames[n]].repeat(4, axis=1).repeat(4, axis=2)
            names = tuple("move_left" if action == LEFT else "move_right" for action in played.actions[n])
            moved = tuple((int(x), int(y)) for x, y in played.moved[n])
            write_clip(folder / split / f"{n}.mp4", Clip(frames=frames, actions=names, moved=moved))
    return folder


def weights_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The trained pass


@pytest.mark.parametrize("rope", ["1d", "3d"])
@pytest.mark.parametrize("kv", [4, 2])
def test_the_trained_pass_is_the_adapters(rope: Literal["1d", "3d"], kv: int) -> None:
    config = McArConfig(
        hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=kv,
        vocab_size=11, max_position_embeddings=3 * 23, image_vocab=6, rope=rope, rows=ROWS, cols=COLS, action_tokens=3,
    )  # fmt: skip
    trained = TrainedMcAr(config, seed=5)
    adapter = McAr(config, {name: weight.detach() for name, weight in trained.weights().items()})
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 11, (2, 60)))
    at = torch.arange(60)
    with torch.no_grad():
        ours = trained(ids)
        theirs = adapter.forward(ids, at, at, torch.ones(60, 60, dtype=torch.bool).tril(), adapter.new_cache(2, 60))
        torch.testing.assert_close(trained(ids, at[[3, 40]]), ours[:, [3, 40]], rtol=1e-5, atol=1e-5)
    assert float(ours.std()) > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_weights_are_those_of_the_config() -> None:
    model = TrainedMcAr(CONFIG, seed=1)
    assert {name: tuple(weight.shape) for name, weight in model.weights().items()} == CONFIG.shapes()
    matrices, norms = model.decayed()
    assert {weight.ndim for weight in matrices} == {2}
    assert {weight.ndim for weight in norms} == {1}
    assert len(matrices) + len(norms) == len(CONFIG.shapes())


# Sequences


def test_sequences_are_frames_with_actions_between() -> None:
    two = TokenClips(
        frames=np.arange(6).reshape(1, 3, 1, 2), actions=np.array([[9, 8]]), moved=np.zeros((1, 2, 2), np.int64)
    )
    assert two.sequences(6, 7).tolist() == [[0, 1, 6, 9, 7, 2, 3, 6, 8, 7, 4, 5]]
    window = two.windows(np.array([0, 0]), np.array([1, 0]), 2)
    assert window.sequences(6, 7).tolist() == [[2, 3, 6, 8, 7, 4, 5], [0, 1, 6, 9, 7, 2, 3]]


def test_tokens_are_kept_with_what_they_come_from(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    key = tokens_key(paths, [paths[0]], WORDS.ids)
    assert key != tokens_key(paths[1:], [paths[0]], WORDS.ids)
    assert key != tokens_key(paths, [paths[1]], WORDS.ids)
    assert key != tokens_key(paths, [paths[0]], {"noop": 3})
    write_tokens(tmp_path / "t.npz", TRAIN, key)
    back = read_tokens(tmp_path / "t.npz", key)
    assert back is not None
    for name in ("frames", "actions", "moved"):
        np.testing.assert_array_equal(getattr(back, name), getattr(TRAIN, name))
    assert read_tokens(tmp_path / "t.npz", "another") is None
    assert read_tokens(tmp_path / "none.npz", key) is None
    for data in (b"", b"hello", (tmp_path / "t.npz").read_bytes()[:-30]):
        (tmp_path / "t.npz").write_bytes(data)
        assert read_tokens(tmp_path / "t.npz", key) is None


# The tokenizer


def test_tiles_of_one_look_have_one_code(clips: Path) -> None:
    frames = load_frames(list_clips(clips / "train"), 5)
    assert frames.shape == (15, ROWS * 4, COLS * 4, 3)
    looks = TileCodes(TileBank(frames, 4), 16)
    assert len(looks.centres) == CODES  # as many as there are colours, not as many as are allowed
    codes = looks.assign(frames, 4)
    assert codes.shape == (15, ROWS, COLS)
    truth = np.concatenate([scrolls(3, 5, seed=5).frames[n] for n in range(3)])
    assert len({*zip(codes.ravel().tolist(), truth.ravel().tolist(), strict=True)}) == CODES


def test_clips_of_different_sizes(clips: Path, tmp_path: Path) -> None:
    paths = list_clips(clips / "train")
    odd = Clip(frames=np.zeros((2, 8, 8, 3), np.uint8), actions=("noop",), moved=(None,))
    write_clip(tmp_path / "odd.mp4", odd)
    with pytest.raises(DocumentError, match=r"clips of one size, got .*odd\.mp4"):
        load_frames([*paths, tmp_path / "odd.mp4"], 2)
    with pytest.raises(SpecError, match="at least 4 x 5 tiles, got 2 x 2"):
        train_tokenizer(TOKENIZER, [tmp_path / "odd.mp4"], paths, tmp_path / "run")


class StopError(Exception):
    pass


def stop_at(last: int) -> Any:
    def on_step(step: int, _: object) -> None:
        if step == last:
            raise StopError

    return on_step


@pytest.fixture(scope="module")
def tokenizer_run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(
        TOKENIZER, list_clips(clips / "train"), list_clips(clips / "validation"), folder, checkpoint_every=10
    )
    return folder


def test_a_tokenizer_learns(tokenizer_run: Path, clips: Path) -> None:
    with (tokenizer_run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_psnr"]) > float(rows[0]["validation_psnr"])
    assert last_row(tokenizer_run)["step"] == 30
    assert (tokenizer_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_image_tokenizer(tokenizer_run)
    assert loaded.encode(load_frames(list_clips(clips / "validation"), 2)).shape == (2, ROWS, COLS)


def test_a_tokenizer_goes_on_to_the_identical_weights(tokenizer_run: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (TOKENIZER, list_clips(clips / "train"), list_clips(clips / "validation"), tmp_path)
    with pytest.raises(StopError):
        train_tokenizer(*arguments, checkpoint_every=10, on_step=stop_at(15))
    assert not (tmp_path / "config.json").exists()
    steps: list[int] = []
    train_tokenizer(*arguments, checkpoint_every=10, on_step=lambda step, _: steps.append(step))
    assert steps == list(range(11, 31))
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / name).read_bytes() == (tokenizer_run / name).read_bytes()
    with pytest.raises(DocumentError, match="with other seed"):
        train_tokenizer(replace(TOKENIZER, seed=1), *arguments[1:])


# The model


@pytest.fixture(scope="module")
def model_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedMcAr]:
    folder = tmp_path_factory.mktemp("model")
    return folder, train_world_model(WORLD, CONFIG, VOCABULARY, TRAIN, VALIDATION, folder, checkpoint_every=20)


def test_a_model_learns_and_heeds_the_actions(model_run: tuple[Path, TrainedMcAr]) -> None:
    with (model_run[0] / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    losses = [float(row["validation_loss"]) for row in rows]
    assert losses[-1] < losses[0] < np.log(CODES + 5)
    assert {"seconds", "train_loss", "accuracy", "moved_accuracy", "action_gap"} < set(rows[0])


def test_a_model_goes_on_to_the_identical_weights(model_run: tuple[Path, TrainedMcAr], tmp_path: Path) -> None:
    arguments = (WORLD, CONFIG, VOCABULARY, TRAIN, VALIDATION, tmp_path)
    with pytest.raises(StopError):
        train_world_model(*arguments, checkpoint_every=20, on_step=stop_at(33))
    steps: list[int] = []
    model = train_world_model(*arguments, checkpoint_every=20, on_step=lambda step, _: steps.append(step))
    assert steps == list(range(21, 61))
    assert weights_equal(model.weights(), model_run[1].weights())
    ours, theirs = ((folder / "log.csv").read_text().splitlines() for folder in (tmp_path, model_run[0]))
    column = ours[0].split(",").index("validation_loss")
    assert [row.split(",")[column] for row in ours] == [row.split(",")[column] for row in theirs]
    again = train_world_model(*arguments, on_step=stop_at(1))  # finished: nothing is left to do
    assert weights_equal(again.weights(), model.weights())
    other = replace(WORLD, seed=1)
    assert not weights_equal(TrainedMcAr(CONFIG, seed=1).weights(), TrainedMcAr(CONFIG, seed=0).weights())
    with pytest.raises(DocumentError, match="with other seed"):
        train_world_model(other, CONFIG, VOCABULARY, TRAIN, VALIDATION, tmp_path)


def test_judgement_is_the_plain_sum(model_run: tuple[Path, TrainedMcAr]) -> None:
    model, window = model_run[1], VALIDATION.windows(np.arange(4), np.zeros(4, int), 3)
    said = judge(model, window, VOCABULARY, batch=3)
    ids = torch.from_numpy(window.sequences(WORDS.begin, WORDS.end))
    with torch.no_grad():
        logs = model(ids).log_softmax(-1)
    block = ROWS * COLS + 3
    places = [frame * block + cell for frame in (1, 2) for cell in range(ROWS * COLS)]
    chosen = [[float(logs[n, at - 1, ids[n, at]]) for at in places] for n in range(4)]
    assert said.loss == pytest.approx(-np.mean(chosen), rel=1e-4)
    right = [[int(logs[n, at - 1].argmax()) == int(ids[n, at]) for at in places] for n in range(4)]
    assert said.accuracy == pytest.approx(np.mean(right))
    turned = replace(window, actions=np.where(window.actions == LEFT, RIGHT, LEFT))
    assert said.gap == pytest.approx(judge(model, turned, VOCABULARY).moved_loss - said.moved_loss, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"steps": 0}, "expected positive sizes"),
        ({"context": 1}, "context of at least 2 frames"),
        ({"learning_rate": 0.0}, "expected positive"),
        ({"rope": "2d"}, "expected rope to be 1d or 3d, got rope='2d'"),
    ],
)
def test_recipes_that_are_none(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        replace(WORLD, **keys)


def test_clips_shorter_than_the_context(tmp_path: Path) -> None:
    recipe = replace(WORLD, context=6)
    config = recipe.config(ROWS, COLS, CODES, CODES + 5)
    for train, validation in ((TRAIN, VALIDATION), (VALIDATION, TRAIN)):
        with pytest.raises(SpecError, match="clips of at least 6 frames, got 5"):
            train_world_model(recipe, config, VOCABULARY, train, validation, tmp_path)


# The run's folder


def test_folders_of_other_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "[]", "{"):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(DocumentError, match="expected the settings of a training run"):
            Run(tmp_path, {"a": 1})
    (tmp_path / "settings.json").write_text('{"a": 2, "b": 1}')
    with pytest.raises(DocumentError, match="with other a, b"):
        Run(tmp_path, {"a": 1})
    run = Run(tmp_path, {"a": 2, "b": 1})
    assert run.resume() is None
    for data in (b"", b"hello"):
        (tmp_path / "checkpoint.pt").write_bytes(data)
        with pytest.raises(DocumentError, match=r"cannot read the checkpoint .*Remove it"):
            run.resume()
    torch.save({"step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(DocumentError, match="cannot read the checkpoint"):
        run.resume()
    with pytest.raises(DocumentError, match="cannot make the folder"):
        Run(tmp_path / "settings.json" / "run", {})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"diagplan\[train\]"):
        Run(tmp_path / "new", {})


def test_a_checkpoint_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, {})
    run.save({"step": 1})

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            run.save({"step": 2})
    assert run.resume() == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "settings.json"]


# The world's folder


def document(rope: str) -> WorldDocument:
    return WorldDocument(
        version=1, name="tiny", game="crafter", rows=ROWS, cols=COLS, context_frames=3, fps=6, actions=WORDS
    )


@pytest.mark.parametrize("rope", ["1d", "3d"])
def test_a_world_loads_back(rope: Literal["1d", "3d"], tokenizer_run: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, rope=rope, rope_theta=5000.0, rms_norm_eps=2e-5)
    model = TrainedMcAr(config, seed=2)
    folder = tmp_path / "new" / "world"
    arguments: dict[str, Any] = {"config": config, "tokenizer": tokenizer_run, "document": document(rope)}
    write_world(folder, weights=model.weights(), records=[tokenizer_run / "log.csv"], **arguments)
    assert read_mc_ar_config(folder / "config.json") == config
    assert read_world_document(folder / "world.json") == document(rope)
    assert (folder / "log.csv").read_bytes() == (tokenizer_run / "log.csv").read_bytes()
    assert load_image_tokenizer(folder / "tokenizer").codes == CODES
    assert sorted(path.name for path in (folder / "tokenizer").iterdir()) == [
        "config.json", "diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    loaded = load_mc_ar(folder / "model.safetensors", config=folder / "config.json")
    assert loaded.config == config
    torch.testing.assert_close(
        loaded.embedding, model.weights()["model.embed_tokens.weight"].detach().half().float(), rtol=0, atol=0
    )
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, CODES + 5, (2, 40)))
    at = torch.arange(40)
    ours = loaded.forward(ids, at, at, torch.ones(40, 40, dtype=torch.bool).tril(), loaded.new_cache(2, 40))
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    if rope == "3d":  # transformers would compute 1D positions: it must not take the folder for a Llama
        with pytest.raises(ValueError, match=r"model_type|Unrecognized model"):
            transformers.AutoConfig.from_pretrained(folder)
        return
    theirs, about = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert not any(about[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_world_is_whole_or_has_no_document(tokenizer_run: Path, tmp_path: Path) -> None:
    model = TrainedMcAr(CONFIG)
    arguments: dict[str, Any] = {"config": CONFIG, "tokenizer": tokenizer_run, "document": document("3d")}
    write_world(tmp_path, weights=model.weights(), **arguments)
    wild = {name: weight * 1e30 for name, weight in model.weights().items()}
    with pytest.raises(SpecError, match="lower learning rate"):
        write_world(tmp_path / "wild", weights=wild, **arguments)
    assert not (tmp_path / "wild").exists()
    with pytest.raises(DocumentError, match=r"nothing\.csv"):
        write_world(tmp_path, weights=model.weights(), records=[tmp_path / "nothing.csv"], **arguments)
    assert not (tmp_path / "world.json").exists()
    with pytest.raises(DocumentError, match="expected the weights of an image tokenizer"):
        write_world(tmp_path, weights=model.weights(), **(arguments | {"tokenizer": tmp_path / "nowhere"}))


def test_words() -> None:
    words = action_words(10, ["turn_left", "do", "turn_right", "move_up"])
    assert (words.begin, words.end) == (10, 11)
    assert words.ids == {"turn_left": 12, "do": 13, "turn_right": 14, "move_up": 15}
    assert words.opposites == {"turn_left": "turn_right", "turn_right": "turn_left"}


# The command line


def run_cli(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


SMALL = ("--steps", 3, "--batch", 2)
SIZES = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording and a tokenizer by the command line."""
    pytest.importorskip("crafter")
    folder = tmp_path_factory.mktemp("worlds")
    size = ("--rows", 6, "--cols", 6, "--frames", 4, "--train", 2, "--validation", 1, "--test", 0, "--workers", 1)
    assert run_cli("record", "-o", folder / "clips", *size, "--json")[0] == 0
    arguments = (
        "--clips",
        folder / "clips",
        "-o",
        folder / "tokenizer",
        *SMALL,
        "--whole-steps",
        1,
        "--codes",
        4,
        "--json",
    )
    code, out, err = run_cli("train", "tokenizer", *arguments)
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["step"], said["codes"], said["clips"]) == (4, 4, 2)
    assert {"loss", "validation_psnr", "seconds", "out"} < set(said)
    return folder


def test_from_clips_to_a_world(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "tiny-world"
    arguments = ("--clips", recorded / "clips", "--tokenizer", recorded / "tokenizer", "-o", run, *SIZES)
    code, out, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["step"], said["clips"], said["out"]) == (3, 2, str(run / "world"))
    world = read_world_document(run / "world" / "world.json")
    assert (world.name, world.game, world.rows, world.cols, world.context_frames) == ("tiny-world", "crafter", 6, 6, 3)
    assert world.actions.begin == 4
    assert world.actions.ids["noop"] == 6
    assert world.actions.opposites["move_up"] == "move_down"
    config = read_mc_ar_config(run / "world" / "config.json")
    assert (config.rows, config.cols, config.image_vocab, config.rope) == (6, 6, 4, "1d")
    assert config.vocab_size == 6 + len(world.actions.ids)
    assert said["parameters"] == load_mc_ar(run / "world").weight_bytes() // 4
    assert (run / "world" / "curves.png").is_file()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr("diagplan.training.sequences.tokenize_clips", never)
    weights = (run / "world" / "model.safetensors").read_bytes()
    code, out, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d")
    assert (code, err) == (0, "")
    assert out.endswith(f"wrote {run / 'world'}\n")
    assert (run / "world" / "model.safetensors").read_bytes() == weights
    code, _, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "3d")
    assert code == 1
    assert "with other rope" in err
    shutil.copytree(recorded / "tokenizer", tmp_path / "other")
    with (tmp_path / "other" / "config.json").open("a") as file:
        file.write("\n")
    code, _, err = run_cli("train", "model", *arguments, *SMALL, "--rope", "1d", "--tokenizer", tmp_path / "other")
    assert code == 1
    assert "expected the clips and the tokenizer that the run" in err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--steps", 0], 2, "expected positive"),
        (["--batch", 0], 2, "batch"),
        (["--learning-rate", 0], 2, "learning_rate"),
        (["--device", "nonsense"], 2, "device='nonsense'"),
        (["--checkpoint-every", 0], 2, "--checkpoint-every to be at least 1"),
        (["--clips", "nowhere"], 1, "nowhere"),
    ],
)
@pytest.mark.parametrize("what", ["tokenizer", "model"])
def test_wrong_usage(recorded: Path, tmp_path: Path, what: str, more: list[object], code: int, words: str) -> None:
    tokenizer = ("--tokenizer", recorded / "tokenizer") if what == "model" else ()
    arguments = ("--clips", recorded / "clips", *tokenizer, "-o", tmp_path / "run")
    exit_code, out, err = run_cli("train", what, *arguments, *more)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--hidden", 30, "--heads", 4], "hidden_size=30"), (["--context", 9], "clips of at least 9 frames, got 4")],
)
def test_sizes_that_do_not_fit(recorded: Path, tmp_path: Path, more: list[object], words: str) -> None:
    arguments = ("--clips", recorded / "clips", "--tokenizer", recorded / "tokenizer", "-o", tmp_path / "run")
    exit_code, _, err = run_cli("train", "model", *arguments, *SMALL, *SIZES, *more)
    assert (exit_code, err.count("\n")) == (2, 1)
    assert words in err


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_keeps_the_last_checkpoint(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    real = Run.save

    def save(run: Run, state: Any) -> None:
        if state["step"] == 2:
            raise KeyboardInterrupt
        real(run, state)

    monkeypatch.setattr(Run, "save", save)
    arguments = ("--clips", recorded / "clips", "-o", tmp_path / "run", *SMALL, "--codes", 4, "--checkpoint-every", 1)
    code, out, err = run_cli("train", "tokenizer", *arguments, *(["--json"] if as_json else []))
    assert code == 130
    said = "interrupted; the last checkpoint stays. Run it again to go on from there."
    assert (json.loads(out) if as_json else err) == ({"ok": False, "error": said} if as_json else f"diagplan: {said}\n")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_defaults_of_record_are_those_of_a_recording() -> None:
    import inspect

    from diagplan.cli.worlds import record_command

    shown = {name: parameter.default for name, parameter in inspect.signature(record_command).parameters.items()}
    assert asdict(Recording()) == {field.name: shown[field.name] for field in fields(Recording)}


def test_every_option_of_train_is_described() -> None:
    """As tests/test_docs.py for the commands that are no group."""
    import re

    import typer

    page = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text()
    group: Any = typer.main.get_command(app)
    for name, command in group.commands["train"].commands.items():
        (text,) = re.findall(rf"^## `train {name}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        mentioned = set(re.findall(r"`(--[a-z][a-z0-9-]*)", text))
        assert {
            option for one in command.params for option in (*one.opts, *one.secondary_opts) if option.startswith("--")
        } == mentioned
