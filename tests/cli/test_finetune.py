"""The command finetune: from a world and clips to a world that generate runs, and wrong usage in one line."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "crafter", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.mc_ar_files import read_mc_ar_config  # noqa: E402
from diagplan.schemas.world import read_world_document  # noqa: E402
from diagplan.training.runs import Run  # noqa: E402
from tests.support.cli import run as run_cli  # noqa: E402

SMALL = ("--steps", 3, "--batch", 2)
SIZES = ("--hidden", 16, "--mlp", 16, "--layers", 1, "--heads", 2, "--context", 3)
FEW = ("--steps", 4, "--batch", 2, "--checkpoint-every", 2)


@pytest.fixture(scope="module")
def made(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording, and a world trained on it, by the command line."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "clips").symlink_to(recorded / "clips")
    options = ("--clips", folder / "clips", "--tokenizer", recorded / "tokenizer", "-o", folder / "tiny")
    assert run_cli("train", "model", *options, *SIZES, *SMALL)[0] == 0
    return folder


def arguments(made: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("finetune", "--model", made / "tiny" / "world", "--clips", made / "clips", "-o", out, *FEW, *more)


def test_from_a_world_to_a_tuned_one(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "tuned"
    asked = arguments(made, run, "--k", "1,2", "--d", 5, "--policies", "mineworld-video", "--proxy", "above")
    code, out, err = run_cli(*asked, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["step"], said["clips"], said["out"]) == (4, 2, str(run / "world"))
    assert {"validation_loss", "loss_k1_d5", "loss_k2_d5", "train_loss", "parameters"} < set(said)
    base, world = (read_world_document(folder / "world" / "world.json") for folder in (made / "tiny", run))
    assert base.tuned is None
    assert "tuned" not in json.loads((made / "tiny" / "world" / "world.json").read_text())
    assert world.tuned is not None
    assert world.model_copy(update={"tuned": None, "name": "tiny"}) == base
    assert (world.name, world.tuned.base, world.tuned.steps, world.tuned.ntp_share) == ("tuned", "tiny", 4, 0.25)
    assert [
        (plan.schedule, plan.k, plan.d, plan.proxy, plan.row_end, plan.visibility) for plan in world.tuned.plans
    ] == [("diagonal", k, 5, "above", "keep", "causal") for k in (1, 2)]
    files = [run / "world" / "model.safetensors", made / "tiny" / "world" / "model.safetensors"]
    assert files[0].read_bytes() != files[1].read_bytes()
    video = next((made / "clips" / "validation").glob("*.mp4"))
    code, _, err = run_cli(
        "generate", "--model", run / "world", "--video", video, "--actions", video.with_suffix(".jsonl"), "--k", 2,
        "-o", tmp_path / "out.mp4",
    )  # fmt: skip
    assert code == 0
    assert "warning: the image tokenizer gives the prompt back" in err  # of 4 codes, after three steps
    assert (tmp_path / "out.mp4").stat().st_size > 0

    def never(*_: object, **__: object) -> None:
        raise AssertionError("tokenized again")

    monkeypatch.setattr("diagplan.training.sequences.tokenize_clips", never)
    weights = files[0].read_bytes()
    code, out, err = run_cli(*asked)
    assert (code, err) == (0, "")
    assert out.endswith(f"wrote {run / 'world'}\n")
    assert files[0].read_bytes() == weights
    code, _, err = run_cli(*asked, "--ntp-share", 0.5)
    assert code == 1
    assert "with other ntp_share" in err


def test_a_tuned_world_can_be_tuned_again(made: Path, tmp_path: Path) -> None:
    assert run_cli(*arguments(made, tmp_path / "once", "--k", 1))[0] == 0
    again = ("finetune", "--model", tmp_path / "once" / "world", "--clips", made / "clips", "-o", tmp_path / "twice")
    assert run_cli(*again, *FEW, "--k", 2, "--name", "named", "--context", 2, "--ntp-share", 0)[0] == 0
    world = read_world_document(tmp_path / "twice" / "world" / "world.json")
    assert world.tuned is not None
    assert (world.name, world.tuned.base, world.context_frames) == ("named", "once", 3)
    settings = json.loads((tmp_path / "twice" / "settings.json").read_text())
    assert (settings["context"], settings["ntp_share"]) == (2, 0.0)


def test_the_papers_recipe_and_sizes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 300M model is made 16 times narrower on its way; all else is as anyone gets it."""
    from diagplan.training import published

    real = published.published_config
    monkeypatch.setattr(published, "published_config", lambda *args, **_: real(*args, divide=16))
    sized = arguments(made, tmp_path / "run", "--k", 2, "--recipe", "paper", "--size", "300M", "--context", 3)
    code, out, err = run_cli(*sized, "--steps", 2, "--json")
    assert (code, err) == (0, "")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (settings["warm_up"], settings["betas"], settings["learning_rate"]) == (10_000, [0.9, 0.95], 3e-4)
    config = read_mc_ar_config(tmp_path / "run" / "world" / "config.json")
    assert (config.hidden_size, config.num_hidden_layers, config.rows, config.image_vocab) == (64, 20, 6, 4)
    assert json.loads(out)["parameters"] > 1_000_000
    world = read_world_document(tmp_path / "run" / "world" / "world.json")
    assert world.tuned is not None
    assert (world.tuned.base, world.context_frames) == ("300M at random", 3)
    asked = arguments(made, tmp_path / "long", "--k", 2, "--recipe", "paper", "--size", "300M")
    assert "clips of at least 149 frames, got 4" in run_cli(*asked)[2]  # 5,376 image tokens of 36 a frame


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--k", "1,x"], 2, "expected --k as whole numbers with commas"),
        (["--k", "0"], 2, "expected k >= 1, got k=0"),
        (["--k", "2", "--d", 0], 2, "expected d >= 1"),
        (["--k", "2,2"], 2, "plans that differ in k or d, got k2, k2"),
        (["--k", "2", "--policies", "none"], 2, "expected --policies to be one of"),
        (["--k", "2", "--proxy", "below"], 2, "got proxy='below'"),
        (["--k", "2", "--ntp-share", 2], 2, "from 0 to 1, got --ntp-share 2.0"),
        (["--k", "2", "--steps", 0], 2, "got --steps 0."),
        (["--k", "2", "--checkpoint-every", 0], 2, "--checkpoint-every to be at least 1"),
        (["--k", "2", "--device", "nonsense"], 2, "device='nonsense'"),
        (["--k", "2", "--context", 1], 2, "at least 2 frames, got 1"),
        (["--k", "2", "--context", 0], 2, "at least 2 frames, got 0"),
        (["--k", "2", "--context", 4], 2, "got 4 frames, which are 153"),
        (["--k", "2", "--model", "nowhere"], 2, "got 'nowhere'"),
        (["--k", "2", "--model", "mc-ar"], 2, "got 'mc-ar'"),
        (["--k", "2", "--clips", "nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_usage(made: Path, tmp_path: Path, more: list[object], code: int, words: str) -> None:
    exit_code, out, err = run_cli(*arguments(made, tmp_path / "run"), *more)
    assert (exit_code, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_world_is_not_written_over_the_one_it_begins_with(made: Path) -> None:
    code, _, err = run_cli(*arguments(made, made / "tiny", "--k", 2))
    assert (code, err.count("\n")) == (2, 1)
    assert "got -o and --model both" in err or "got --model and -o both" in err


def test_clips_of_another_size(made: Path, tmp_path: Path) -> None:
    size = ("--rows", 6, "--cols", 7, "--frames", 4, "--train", 1, "--validation", 1, "--test", 0, "--workers", 1)
    assert run_cli("record", "-o", tmp_path / "clips", *size)[0] == 0
    code, _, err = run_cli(*arguments(made, tmp_path / "run", "--k", 2, "--clips", tmp_path / "clips"))
    assert code == 2
    assert "expected clips of 6 x 6 tokens, as tiny has, got 6 x 7 in" in err


def test_ctrl_c_keeps_the_last_checkpoint(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Run.save

    def save(run: Run, model: Any, optimizer: Any, step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt
        real(run, model, optimizer, step)

    asked = arguments(made, tmp_path / "run", "--k", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", save)
        code, _, err = run_cli(*asked)
        again, out, _ = run_cli(*asked, "--json")  # goes on from the second step, to be interrupted once more
    assert (code, again) == (130, 130)
    said = "interrupted; the last checkpoint stays. Run it again to go on from there."
    assert err == f"diagplan: {said}\n"
    assert json.loads(out) == {"ok": False, "error": said}
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (tmp_path / "run" / "world").exists()
    assert run_cli(*asked)[0] == 0
    assert run_cli(*arguments(made, tmp_path / "whole", "--k", 2))[0] == 0
    both = [(tmp_path / run / "world" / "model.safetensors").read_bytes() for run in ("run", "whole")]
    assert both[0] == both[1]


@pytest.mark.slow
def test_two_processes_train_as_one_does(made: Path, tmp_path: Path) -> None:
    """Under torchrun, with gloo: the same losses in the log, and one report."""
    asked = ("--k", "1,2", "--no-bfloat16", "--batch", 4, "--learning-rate", 0.1, "--json")
    assert run_cli(*arguments(made, tmp_path / "tokens", *asked, "--steps", 1))[0] == 0
    for split in ("train", "validation"):  # of an image tokenizer of four steps all tokens are alike
        with np.load(tmp_path / "tokens" / f"tokens-{split}.npz") as held:
            various = dict(held)
        various["frames"] = np.random.default_rng(0).integers(0, 4, various["frames"].shape, dtype=np.int32)
        for run in ("one", "two"):
            (tmp_path / run).mkdir(exist_ok=True)
            np.savez(tmp_path / run / f"tokens-{split}.npz", **various)
    assert run_cli(*arguments(made, tmp_path / "one", *asked))[0] == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "diagplan",
        *map(str, arguments(made, tmp_path / "two", *asked)),
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"} | {"OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=root, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["out"] == str(tmp_path / "two" / "world")
    one, two = (list(csv.DictReader((tmp_path / run / "log.csv").read_text().splitlines())) for run in ("one", "two"))
    assert [row["step"] for row in two] == ["0", "2", "4"]
    for ours, theirs in zip(two, one, strict=True):
        for name in ("train_loss", "validation_loss", "loss_k1", "loss_k2"):
            if theirs[name]:
                assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-4), (ours["step"], name)


def test_variables_of_a_launcher_that_is_not_there(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, _, err = run_cli(*arguments(made, tmp_path / "run", "--k", 2))
    assert (code, err.count("\n")) == (2, 1)
    assert "Start it with torchrun, or unset RANK and WORLD_SIZE." in err
