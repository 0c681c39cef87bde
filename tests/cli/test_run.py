"""`diagplan run` from files to files: the golden tokens, checkpoints that survive a kill, one-line errors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from diagplan import Diagonal, Greedy, Sample, compile_plan, load_model, replay, write_plan  # noqa: E402
from diagplan.backends.memory import estimate_memory  # noqa: E402
from diagplan.cli.run import read_ids  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.int8 import needs_int8  # noqa: E402
from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, golden_plan  # noqa: E402
from tests.support.run_files import options, prompt, write_run_files  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run_files(tmp_path)


def test_golden_tokens_from_files(folder: Path) -> None:
    code, out, err = run(*options(folder, *prompt(folder), "--greedy", "--json"))
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures["passes"] == META["cases"]["image_k2_prompt"]["forward_passes"]
    assert figures["shape"] == [1, LAYOUT.frames, LAYOUT.rows, LAYOUT.cols]
    tokens = np.load(folder / "tokens.npy")
    np.testing.assert_array_equal(tokens.ravel(), DATA["tokens/image_k2_prompt"].ravel())
    assert run(*options(folder, "--given", str(folder / "given.npy"), "--greedy", out="again.npy"))[0] == 0
    assert (folder / "again.npy").read_bytes() == (folder / "tokens.npy").read_bytes()


def test_a_batch_and_a_seed(folder: Path) -> None:
    np.save(folder / "given.npy", np.stack([GIVEN, GIVEN]))
    sampling = ["--given", str(folder / "given.npy"), "--top-p", "0.8", "--temperature", "1.5", "--seed"]
    for seed, name in (("1", "a"), ("1", "b"), ("2", "c")):
        assert run(*options(folder, *sampling, seed, out=f"{name}.npy"))[0] == 0
    a, b, c = (np.load(folder / f"{name}.npy") for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert (a[0] != a[1]).any()
    assert run(*options(folder, *sampling, "1", "--samples", "1,5", out="d.npy"))[0] == 0
    np.testing.assert_array_equal(np.load(folder / "d.npy")[0], a[1])
    code, _, err = run(*options(folder, *sampling, "1", "--samples", "one", out="e.npy"))
    assert (code, "expected --samples to be whole numbers with commas between, got 'one'." in err) == (2, True)


def test_python_face(folder: Path) -> None:
    model = load_model("mc-ar", folder / "model.safetensors", config=folder / "config.json")
    frames: list[int] = []
    tokens = replay(
        golden_plan(META["cases"]["vid_k1_latest"]),
        model,
        np.load(folder / "prompt.npy"),
        np.load(folder / "actions.npy"),
        sampler=Greedy(),
        on_frame=lambda frame, _: frames.append(frame),
    )
    np.testing.assert_array_equal(tokens.ravel(), DATA["tokens/vid_k1_latest"].ravel())
    assert frames == [0, 1, 2, 3]


def test_resume_gives_the_identical_result(folder: Path) -> None:
    common = [*prompt(folder), "--top-k", "9", "--seed", "4"]
    assert run(*options(folder, *common, out="whole.npy"))[0] == 0
    state = str(folder / "state.safetensors")
    assert run(*options(folder, *common, "--checkpoint", state, "--checkpoint-every", "5"))[0] == 0
    code, out, _ = run(*options(folder, *common, "--resume", state, "--json", out="resumed.npy"))
    assert code == 0
    assert json.loads(out)["passes"] == 36 % 5
    assert (folder / "resumed.npy").read_bytes() == (folder / "whole.npy").read_bytes()


def test_a_killed_process_loses_a_few_steps_at_most(folder: Path) -> None:
    """The process is killed while it replays; what it wrote last is whole, and resuming ends in the same tokens."""
    write_plan(compile_plan(LAYOUT, Diagonal(k=2)), folder / "plan.json")
    state = folder / "state.safetensors"
    arguments = options(folder, *prompt(folder), "--seed", "4", "--top-k", "9")
    slow = (
        "import sys, time\nfrom diagplan.adapters.mc_ar import McAr\nreal = McAr.forward\n"
        "def forward(*args, **kwargs):\n    time.sleep(0.1)\n    return real(*args, **kwargs)\n"
        "McAr.forward = forward\nfrom diagplan.cli import app\napp(sys.argv[1:])"
    )
    command = [sys.executable, "-c", slow, *arguments, "--checkpoint", str(state), "--checkpoint-every", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "tokens.npy").exists()
    assert run(*arguments)[0] == 0
    assert (
        run(*options(folder, *prompt(folder), "--seed", "4", "--top-k", "9", "--resume", str(state), out="r.npy"))[0]
        == 0
    )
    assert (folder / "r.npy").read_bytes() == (folder / "tokens.npy").read_bytes()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--greedy", "--top-k", "3"], 2, "expected --greedy or --top-k, got both"),
        (["--greedy", "--temperature", "0"], 2, "expected --greedy or --temperature, got both"),
        (["--temperature", "-1"], 2, "expected --temperature >= 0, got --temperature -1.0. 0 is greedy"),
        (["--top-k", "0"], 2, "expected --top-k >= 1, got --top-k 0."),
        (["--top-p", "1.5"], 2, "expected 0 < --top-p <= 1, got --top-p 1.5."),
        (["--min-p", "1.5"], 2, "expected 0 < --min-p <= 1, got --min-p 1.5."),
        (["--temperature", "0", "--top-k", "-5"], 2, "expected --top-k >= 1, got --top-k -5."),
        (["--adapter", "wham", "--top-p", "7"], 2, "expected 0 <= --top-p <= 1, got --top-p 7.0."),
        (["--guidance", "3"], 2, "expected --guidance and --unconditional together, got one of them."),
        (["--checkpoint", "state"], 2, "expected --checkpoint and --checkpoint-every together"),
        (["--resume", "nowhere"], 1, "expected a checkpoint in nowhere"),
        (["--device", "nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_usage(folder: Path, more: list[str], code: int, message: str) -> None:
    exit_code, out, err = run(*options(folder, *prompt(folder), *more))
    assert (exit_code, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def break_plan(folder: Path) -> None:
    value = json.loads((folder / "plan.json").read_text())
    value["steps"][2]["source"][-1] = 80
    (folder / "plan.json").write_text(json.dumps(value))


BREAKAGES: dict[str, tuple[Any, str]] = {
    "prompt": (lambda f: np.save(f / "prompt.npy", np.zeros((2, 3, 5), int)), "expected prompt of shape"),
    "float prompt": (lambda f: np.save(f / "prompt.npy", np.zeros((1, 3, 5))), "expected a .npy array of integers"),
    "actions": (lambda f: np.save(f / "actions.npy", np.zeros((4, 3), int)), "expected actions of shape"),
    "ids": (lambda f: np.save(f / "prompt.npy", np.full((1, 3, 5), 70)), "expected given ids from 0 to 69"),
    "no npy": (lambda f: (f / "prompt.npy").write_bytes(b"hello"), "expected a .npy array"),
    "plan": (break_plan, "expected a valid plan"),
    "weights": (lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 64), "model.safetensors"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_broken_files_are_one_line(folder: Path, name: str) -> None:
    breakage, message = BREAKAGES[name]
    breakage(folder)
    code, out, err = run(*options(folder, *prompt(folder)))
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "tokens.npy").exists()


def npy(header: bytes) -> bytes:
    """A .npy file of version 1 with this header."""
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (3,",  # tokenize.TokenError
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (1, 3, 5)L, }",
        b"(" * 900,
        b"-" * 9000,
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999, 99999999999999), }",
        b"{'descr': ('<i8', '<i8'), 'fortran_order': False, 'shape': (3,), }",
        b"{'descr': [('a', 1)], 'fortran_order': False, 'shape': (3,), }",
        b"\x00",
        b"",
    ],
)
def test_hostile_npy_headers_are_one_line(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "ids.npy").write_bytes(npy(header))
    with pytest.raises(DocumentError, match=re.escape(str(tmp_path / "ids.npy"))) as caught:
        read_ids(tmp_path / "ids.npy")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("expected a .npy array of integers in")


def test_guidance(folder: Path) -> None:
    np.save(folder / "others.npy", np.flip(GIVEN))
    np.save(folder / "batch.npy", np.stack([GIVEN, np.flip(GIVEN)]))
    guided = ["--given", str(folder / "batch.npy"), "--top-k", "9", "--guidance", "3", "--unconditional"]
    guided.append(str(folder / "others.npy"))
    code, out, err = run(*options(folder, *guided, "--json"))
    assert (code, err) == (0, "")
    model = load_model("mc-ar", folder / "model.safetensors", config=folder / "config.json")
    plan = golden_plan(META["cases"]["image_k2_prompt"])
    want = replay(
        plan, model, given=np.stack([GIVEN, np.flip(GIVEN)]), sampler=Sample(top_k=9), guidance=3.0,
        unconditional=np.flip(GIVEN),
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(folder / "tokens.npy"), want)
    figures = json.loads(out)
    assert figures["samples"] == 2
    assert figures["threads"] == 1
    assert figures["memory"]["cache"] == estimate_memory(model, plan, 4).cache
    # Its checkpoint is resumed with the same scale only.
    state = str(folder / "state.safetensors")
    assert run(*options(folder, *guided, "--checkpoint", state, "--checkpoint-every", "5"))[0] == 0
    assert run(*options(folder, *guided, "--resume", state, out="resumed.npy"))[0] == 0
    assert (folder / "resumed.npy").read_bytes() == (folder / "tokens.npy").read_bytes()
    guided[guided.index("3")] = "2"
    code, _, err = run(*options(folder, *guided, "--resume", state))
    assert (code, "expected a checkpoint with guidance=2.0, got guidance=3.0" in err) == (1, True)


def test_pads_and_guided_steps(folder: Path) -> None:
    model = load_model("mc-ar", folder / "model.safetensors", config=folder / "config.json")
    plan, others = golden_plan(META["cases"]["image_k2_prompt"]), np.flip(GIVEN)
    np.save(folder / "others.npy", others)
    guided = ["--given", str(folder / "given.npy"), "--guidance", "3", "--unconditional", str(folder / "others.npy")]
    for written, pad, steps in (("0,3", [0, 3], (0, 2)), ("2", [2], (1, None))):
        told = f"{steps[0]}:{'' if steps[1] is None else steps[1]}"
        assert run(*options(folder, *guided, "--pad", written, "--guided-steps", told))[0] == 0
        want = replay(plan, model, given=GIVEN, guidance=3.0, unconditional=others, pad=pad, guided_steps=steps)
        np.testing.assert_array_equal(np.load(folder / "tokens.npy"), want)
    for wrong, words in (("--guided-steps", "expected --guided-steps as FIRST:END"), ("--pad", "expected --pad to be")):
        code, _, err = run(*options(folder, *guided, wrong, "x"))
        assert (code, words in err) == (2, True)


def test_guidance_of_three_branches(folder: Path) -> None:
    np.save(folder / "others.npy", np.flip(GIVEN))
    given = ["--given", str(folder / "given.npy"), "--guidance", "3,-1,-1"]
    others = ["--unconditional", str(folder / "others.npy")]
    state = ["--checkpoint", str(folder / "state.safetensors"), "--checkpoint-every", "5"]
    assert run(*options(folder, *given, *others, *others, *state))[0] == 0
    resumed = ["--resume", str(folder / "state.safetensors")]
    assert run(*options(folder, *given, *others, *others, *resumed, out="resumed.npy"))[0] == 0
    assert run(*options(folder, *given[:3], "3", *others, out="scale.npy"))[0] == 0
    for name in ("resumed", "scale"):
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), np.load(folder / "tokens.npy"))
    for scale, words in (("3,-1,-1", "expected 2 --unconditional for --guidance 3,-1,-1, got 1."), ("x", "got 'x'.")):
        code, _, err = run(*options(folder, *given[:3], scale, *others))
        assert (code, words in err) == (2, True)


def test_guidance_that_does_not_fit(folder: Path) -> None:
    np.save(folder / "others.npy", GIVEN[:-1])
    given = ["--given", str(folder / "given.npy"), "--guidance"]
    others = ["--unconditional", str(folder / "others.npy")]
    code, _, err = run(*options(folder, *given, "3", *others))
    assert (code, "expected unconditional of shape" in err) == (1, True)
    others[1] = str(folder / "given.npy")
    code, _, err = run(*options(folder, *given, "nan", *others))
    assert (code, "expected guidance to be a finite number, got guidance=nan" in err) == (2, True)
    assert not (folder / "tokens.npy").exists()


def test_outputs_are_looked_at_first(folder: Path) -> None:
    for name, words in (("x.txt", "a name ending in .npy for -o"), ("none/x.npy", "-o in a folder that is there")):
        code, _, err = run(*options(folder, "--prompt", str(folder / "no.npy"), out=name))
        assert (code, f"expected {words}" in err) in {(2, True), (1, True)}


def test_sample_is_public() -> None:
    assert Sample(top_p=0.8).crossing == "keep"


@needs_int8
def test_int8(folder: Path) -> None:
    common = [*prompt(folder), "--greedy", "--json"]
    code, out, err = run(*options(folder, *common, "--int8"))
    assert (code, err) == (0, "")
    assert run(*options(folder, *common, "--int8", out="again.npy"))[0] == 0
    assert (folder / "again.npy").read_bytes() == (folder / "tokens.npy").read_bytes()
    exact = json.loads(run(*options(folder, *common))[1])
    assert json.loads(out)["memory"]["weights"] < exact["memory"]["weights"] / 2
    code, _, err = run(*options(folder, *prompt(folder), "--int8", "--dtype", "bfloat16"))
    assert (code, err.count("\n")) == (2, 1)
    assert "expected device cpu and dtype float32" in err


@pytest.mark.filterwarnings("default::diagplan.ModelWarning")
def test_a_warning_of_the_model_is_one_line(folder: Path) -> None:
    """It does not touch stdout, the exit code or the tokens, and names no place in the source."""
    known = run(*options(folder, *prompt(folder), "--json"))
    (folder / "config.json").write_text(json.dumps(META["config"]))
    code, out, err = run(*options(folder, *prompt(folder), "--json"))
    assert (known[0], known[2], code) == (0, "", 0)
    assert json.loads(out)["shape"] == json.loads(known[1])["shape"]
    assert err.startswith("diagplan: warning: expected image_vocab in the config of a model with ")
    assert err.count("\n") == 1
