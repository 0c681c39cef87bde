"""Export, replay and comparison from the command line; a whole world model without torch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("diffusers")
pytest.importorskip("av")

from diagplan import Diagonal, NextToken, compile_plan, load_world  # noqa: E402
from diagplan.backends.compare import compare  # noqa: E402
from diagplan.backends.given import given_from_prompt  # noqa: E402
from diagplan.backends.replay import prepare  # noqa: E402
from diagplan.backends.sampling import Greedy, Sample  # noqa: E402
from diagplan.planner.schedule import Schedule  # noqa: E402
from diagplan.video.files import read_frames  # noqa: E402
from diagplan.worlds import SHIPPED  # noqa: E402
from diagplan.worlds.generation import prompt_tokens  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

MINI, QUICK = SHIPPED["crafter-mini"], shallow_folder()
CLIP = ["--video", str(MINI / "clip.mp4"), "--actions", str(MINI / "clip.jsonl")]


@pytest.fixture(scope="module")
def worlds(exported: Path) -> dict[str, Any]:
    return {"torch": load_world(str(QUICK)), "onnx": load_world(str(exported), backend="onnx", threads=1)}


SCHEDULES: dict[str, Schedule] = {
    "next-token": NextToken(), "k=4": Diagonal(k=4), "k=2": Diagonal(k=2), "k=1": Diagonal(k=1),
    "k=2 d=14": Diagonal(k=2, d=14),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_plan_of_the_demonstration(name: str, worlds: dict[str, Any]) -> None:
    """A trained model, greedy and seeded: the same tokens, or a first difference that float noise decides."""
    one, two = worlds["torch"], worlds["onnx"]
    first = next(iter(read_frames(MINI / "clip.mp4")))
    prompt = prompt_tokens(one, first[None])
    np.testing.assert_array_equal(prompt, prompt_tokens(two, first[None]))
    layout = one.layout(7)
    assert layout == two.layout(7)
    ids = given_from_prompt(layout, prompt, one.read_actions(MINI / "clip.jsonl")[:7])
    plan = compile_plan(layout, SCHEDULES[name])
    for sampler in (Greedy(), Sample(top_p=0.9)):
        ready = [prepare(plan, world.model, sampler=sampler, seed=4) for world in (one, two)]
        found = compare(ready[0], ready[1], ids)
        assert found.tokens == layout.tokens
        assert found.logits < 1e-3
        if isinstance(sampler, Greedy) and found.earliest is not None:
            assert abs(found.earliest.margin) <= 2 * found.logits
        else:
            assert found.different == 0


def test_frames_and_tokens_of_both_tokenizers(worlds: dict[str, Any]) -> None:
    frames = np.stack(list(read_frames(MINI / "clip.mp4")))
    one, two = (world.tokenizer for world in worlds.values())
    tokens = one.encode(frames)
    np.testing.assert_array_equal(two.encode(frames), tokens)
    pictures = [tokenizer.decode(tokens).astype(np.int64) for tokenizer in (one, two)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1  # a value between two levels
    assert (pictures[0] != pictures[1]).mean() < 1e-3


WITHOUT_TORCH = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {"torch", "diffusers", "transformers", "onnxscript"}:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
from diagplan.cli import main
sys.argv = ["diagplan", *sys.argv[1:]]
main()
"""


def test_a_whole_generate_without_torch(exported: Path, tmp_path: Path) -> None:
    """In a process where importing torch fails; the tokens are those of torch."""
    options = [*CLIP, "--k", "2", "--seed", "3", "--top-p", "0.9", "--frames", "3"]
    quick = ["--model", str(QUICK)]
    files = ["-o", tmp_path / "a.mp4", "--tokens", tmp_path / "a.npy"]
    assert run("generate", *options, *quick, *files)[0] == 0
    command = [sys.executable, "-c", WITHOUT_TORCH, "generate", *options, "--backend", "onnx", "--model", str(exported)]
    command += ["--threads", "1", "-o", str(tmp_path / "b.mp4"), "--tokens", str(tmp_path / "b.npy"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["frames"] == 3
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    without = ["generate", *options, *quick, "-o", str(tmp_path / "c.mp4")]
    refused = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *without], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    assert refused.returncode == 1
    assert "expected PyTorch for videos, got none" in refused.stderr


def test_run_on_both_backends(exported: Path, plan: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = tmp_path / "given.npy"
    np.save(given, rng.integers(0, 256, (2, 9 * 12 + 2 * 3)))
    shared = [plan, "--given", given, "--temperature", "1.1", "--seed", "5"]
    assert run("run", *shared, "--weights", QUICK, "-o", tmp_path / "torch.npy")[0] == 0
    code, out, err = run(
        "run", *shared, "--backend", "onnx", "--weights", exported, "-o", tmp_path / "onnx.npy", "--json"
    )
    assert code == 0, out + err
    assert json.loads(out)["shape"] == [2, 2, 9, 12]
    np.testing.assert_array_equal(np.load(tmp_path / "torch.npy"), np.load(tmp_path / "onnx.npy"))


def test_resume_on_onnx(exported: Path, plan: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.npy"
    np.save(given, np.random.default_rng(0).integers(0, 256, 9 * 12 + 2 * 3))
    shared = ["run", plan, "--given", given, "--backend", "onnx", "--weights", exported, "--temperature", "1.0"]
    kept = tmp_path / "state.safetensors"
    assert run(*shared, "-o", tmp_path / "a.npy", "--checkpoint", kept, "--checkpoint-every", "20")[0] == 0
    assert run(*shared, "-o", tmp_path / "b.npy", "--resume", kept)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    code, _, err = run("run", plan, "--given", given, "--weights", QUICK, "-o", tmp_path / "c.npy", "--resume", kept)
    assert code == 1
    assert "expected a checkpoint with model=" in err


def test_int8_of_a_trained_model(exported: Path, plan: Path, tmp_path: Path) -> None:
    """Choices that int8 changes are found, named, and few."""
    small = tmp_path / "int8"
    assert run("export-onnx", "--weights", QUICK, "--int8", "-o", small)[0] == 0
    assert (small / "model.onnx.data").stat().st_size < 0.4 * (exported / "model.onnx.data").stat().st_size
    code, out, _ = run("compare", plan, "--weights", QUICK, "--onnx", small, "--temperature", "1.5", "--json")
    said = json.loads(out)
    assert 1e-4 < said["largest_logit_difference"] < 5
    assert said["different"] < 0.1 * said["tokens"]
    assert code == (1 if said["different"] else 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export-onnx", "-o", "x"], "expected --model or --weights, got neither. "),
        (["export-onnx", "-o", "x", "--model", "m", "--weights", "w"], "expected --model or --weights"),
        (
            ["export-onnx", "-o", "x", "--model", "m", "--config", "c"],
            "expected --config and --tokenizer with --weights",
        ),
        (["export-onnx", "-o", "x", "--weights", "w", "--int8", "--dtype", "float16"], "expected --int8 with --dtype"),
        (["generate", *CLIP, "-o", "x.mp4", "--backend", "onnx"], "expected the folder of an exported world model"),
    ],
)
def test_options_that_contradict(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    code, _, err = run("export-onnx", "--weights", QUICK, "-o", tmp_path / "file")
    assert code == 1
    assert "expected -o to name a folder, got" in err
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["tokenizer/encoder.onnx", "world.json"])
def test_files_that_were_not_exported_together(name: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    content = (folder / name).read_bytes()
    generate = ["generate", *CLIP, "--backend", "onnx", "--model", folder, "-o", tmp_path / "x.mp4"]
    for change, found in ((content + b"\n", "another file"), (None, "none")):
        (folder / name).unlink()
        if change is not None:
            (folder / name).write_bytes(change)
        code, _, err = run(*generate)
        assert code == 1
        assert f"expected {name} as it was exported with" in err
        assert f"got {found}. Export it again" in err


def test_a_folder_is_known_as_an_export(exported: Path, plan: Path, tmp_path: Path) -> None:
    """By its files: ``generate`` and ``run`` take it to ONNX Runtime, which alone can run it."""
    tokens = tmp_path / "a.npy", tmp_path / "b.npy"
    for more, path in (((), tokens[0]), (("--backend", "onnx"), tokens[1])):
        given = (*CLIP, "--model", exported, "--frames", 1, "--k", 2)
        code, out, err = run("generate", *given, "-o", tmp_path / "x.mp4", "--tokens", path, *more, "--json")
        assert (code, err) == (0, ""), out
    np.testing.assert_array_equal(np.load(tokens[0]), np.load(tokens[1]))
    code, _, err = run("generate", *CLIP, "--model", exported, "--int8", "-o", tmp_path / "x.mp4")
    assert (code, "They were chosen when the model was exported" in err) == (2, True)
    np.save(tmp_path / "given.npy", np.arange(9 * 12 + 2 * 3))
    for more, path in (((), tokens[0]), (("--backend", "onnx"), tokens[1])):
        code, out, err = run("run", plan, "--weights", exported, "--given", tmp_path / "given.npy", "-o", path, *more)
        assert (code, err) == (0, ""), out
    np.testing.assert_array_equal(np.load(tokens[0]), np.load(tokens[1]))


def test_a_transformer_alone_is_no_world(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    assert run("export-onnx", "--weights", QUICK, "-o", folder)[0] == 0  # over a whole world: its parts stay unused
    code, _, err = run("generate", *CLIP, "--backend", "onnx", "--model", folder, "-o", tmp_path / "x.mp4")
    assert code == 1
    assert "got a transformer without image tokenizer" in err


def test_no_part_of_a_model_is_written_over(exported: Path, plan: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    given = tmp_path / "given.npy"
    np.save(given, np.zeros(9 * 12 + 2 * 3, int))
    graph = (folder / "model.onnx").read_bytes()
    shared = ["run", plan, "--given", given, "--backend", "onnx", "--weights", folder]
    code, _, err = run(*shared, "-o", folder / "model.onnx")
    assert code == 2
    assert "expected -o to replace no file of --weights" in err
    options = ["--backend", "onnx", "--model", folder, "-o", tmp_path / "x.mp4", "--tokens", folder / "model.onnx"]
    code, _, err = run("generate", *CLIP, *options)
    assert code == 2
    assert "expected --tokens to replace no file of --model" in err
    assert (folder / "model.onnx").read_bytes() == graph
    state = tmp_path / "state.safetensors"
    state.touch()
    code, _, err = run(*shared, "-o", state, "--resume", state)
    assert code == 2
    assert run(*shared, "-o", folder / "tokens.npy")[0] == 0  # a new file is nobody's
