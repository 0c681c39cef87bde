"""A replay's state on disk: what is written is what was there, and files of other runs are refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr  # noqa: E402
from diagplan.backends.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.replay import Prepared, State, new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Sample  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.mc_ar import GOLDEN, golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT, WEIGHTS  # noqa: E402

PLAN = compile_plan(LAYOUT, Diagonal(k=2))
IDS = np.repeat(GIVEN[None], 2, axis=0)


def begun(dtype: Any = torch.float32, stop: int = 6) -> tuple[Prepared, State]:
    """A replay after a few steps."""
    prepared = prepare(PLAN, golden_model(dtype=dtype), sampler=Sample(temperature=1.2), seed=4, batch=2)
    state = new_state(prepared, IDS)
    replay(prepared, state, cancelled=lambda: prepared.passes[state.done - 1].step == stop)
    return prepared, state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_there_and_back(dtype: Any, tmp_path: Path) -> None:
    prepared, state = begun(dtype)
    save_checkpoint(prepared, state, tmp_path / "state")
    again = load_checkpoint(prepared, tmp_path / "state", IDS)
    assert again.done == state.done
    assert again.tokens.equal(state.tokens)
    used = prepared.passes[state.done - 1].mask.shape[1]
    for ours, theirs in zip(again.cache.read(used), state.cache.read(used), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.any()
    np.testing.assert_array_equal(replay(prepared, again).tokens, replay(prepared, state).tokens)


def test_only_the_used_part_of_the_cache_is_written(tmp_path: Path) -> None:
    prepared, state = begun(stop=0)
    save_checkpoint(prepared, state, tmp_path / "state")
    used = prepared.passes[state.done - 1].mask.shape[1]
    assert used < prepared.cache_slots
    assert {a.shape[2] for name, a in load_file(tmp_path / "state").items() if name != "tokens"} == {used}


def rewrite(path: Path, arrays: dict[str, Any] | None = None, about: dict[str, Any] | None = None) -> None:
    """The same file with some arrays or words changed."""
    with safe_open(str(path), framework="np") as file:
        told = json.loads(file.metadata()["diagplan"]) | (about or {})
    save_file(load_file(path) | (arrays or {}), path, metadata={"diagplan": json.dumps(told)})


@pytest.mark.parametrize(
    "name", ["plan", "model", "dtype", "sampler", "seed", "batch", "samples", "guidance", "static", "given"]
)
def test_other_runs_are_named(name: str, tmp_path: Path) -> None:
    prepared, state = begun()
    save_checkpoint(prepared, state, tmp_path / "state")
    rewrite(tmp_path / "state", about={name: "other"})
    with pytest.raises(MismatchError, match=rf"^expected a checkpoint with {name}=.*, got {name}=other\. Resume with"):
        load_checkpoint(prepared, tmp_path / "state", IDS)


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": {"tokens": np.zeros((2, 3), np.int64)}},
        {"arrays": {"cache.0": np.zeros((2, 2, 1, 16), np.float32)}},
        {"arrays": {"cache.99": np.zeros(1, np.float32)}},
        {"about": {"step": -1}},
        {"about": {"step": "six"}},
    ],
    ids=str,
)
def test_arrays_of_another_shape_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    prepared, state = begun()
    save_checkpoint(prepared, state, tmp_path / "state")
    rewrite(tmp_path / "state", **change)
    with pytest.raises(DocumentError, match="expected tokens and a cache of this plan's shape in"):
        load_checkpoint(prepared, tmp_path / "state", IDS)


def test_files_of_another_kind(tmp_path: Path) -> None:
    prepared, state = begun()
    path = tmp_path / "state"
    save_checkpoint(prepared, state, path)
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DocumentError, match=r"expected a checkpoint in .*, got a file that cannot be read"):
            load_checkpoint(prepared, path, IDS)
    save_file({"tokens": np.zeros(1)}, path)
    with pytest.raises(DocumentError, match=re.escape("got a safetensors file of another kind")):
        load_checkpoint(prepared, path, IDS)
    with pytest.raises(DocumentError, match="expected a checkpoint in"):
        load_checkpoint(prepared, tmp_path / "none", IDS)


@pytest.mark.parametrize("step", [0, 5, 7, 10**9])
def test_another_step_is_not_resumed(step: int, tmp_path: Path) -> None:
    """Steps with as much of the cache in use look alike: the tokens would be others."""
    prepared, state = begun()
    save_checkpoint(prepared, state, tmp_path / "state")
    rewrite(tmp_path / "state", about={"step": step})
    with pytest.raises(DocumentError, match=r"(got others|The file was damaged)\."):
        load_checkpoint(prepared, tmp_path / "state", IDS)


def test_words_that_are_too_deep(tmp_path: Path) -> None:
    prepared, state = begun()
    path = tmp_path / "state"
    save_checkpoint(prepared, state, path)
    save_file(load_file(path), path, metadata={"diagplan": "[" * 100_000})
    with pytest.raises(DocumentError, match=r"expected a checkpoint in .*, got a file that cannot be read"):
        load_checkpoint(prepared, path, IDS)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    prepared, state = begun()
    with pytest.raises(DocumentError):
        save_checkpoint(prepared, state, tmp_path / "no folder" / "state")
    assert list(tmp_path.iterdir()) == []


def test_other_given_ids_are_another_run(tmp_path: Path) -> None:
    prepared, state = begun()
    save_checkpoint(prepared, state, tmp_path / "state")
    other = IDS.copy()
    other[1, -1] ^= 1
    with pytest.raises(MismatchError, match="expected a checkpoint with given="):
        load_checkpoint(prepared, tmp_path / "state", other)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.0.mlp.down_proj.weight"])
def test_every_weight_belongs_to_the_run(name: str, tmp_path: Path) -> None:
    """One number of one matrix, which a sample of a few rows would not see."""
    prepared, state = begun()
    save_checkpoint(prepared, state, tmp_path / "state")
    weights = {key: torch.from_numpy(weight.copy()) for key, weight in WEIGHTS.items()}
    weights[name][-1, -1] += 1e-3
    other = prepare(PLAN, McAr(GOLDEN, weights), sampler=Sample(temperature=1.2), seed=4, batch=2)
    with pytest.raises(MismatchError, match="expected a checkpoint with model="):
        load_checkpoint(other, tmp_path / "state", IDS)


def test_a_flipped_bit_is_never_resumed(tmp_path: Path) -> None:
    """Wherever it is: in the words, in the tokens, in the cache."""
    prepared, state = begun()
    path = tmp_path / "state"
    save_checkpoint(prepared, state, path)
    whole = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 60).tolist():
        flipped = whole.copy()
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises((DocumentError, MismatchError)):
            load_checkpoint(prepared, path, IDS)
