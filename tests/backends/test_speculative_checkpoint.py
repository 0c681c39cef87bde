"""A speculative replay's state on disk: what is written is what was there, and files of other runs are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

from diagplan import DocumentError, MismatchError, NextToken, Sample, Speculation, compile_plan  # noqa: E402
from diagplan.backends import speculative  # noqa: E402
from diagplan.backends.speculative_checkpoint import load_speculation, save_speculation  # noqa: E402
from tests.support.mc_ar import golden_model  # noqa: E402
from tests.support.mineworld import GIVEN, LAYOUT  # noqa: E402
from tests.support.speculated import step_by_step  # noqa: E402

PLAN = compile_plan(LAYOUT, NextToken())
IDS = np.stack([GIVEN, GIVEN])
OPTIONS: dict[str, Any] = {"sampler": Sample(temperature=1.2), "seed": 4, "batch": 2}


def begun(window: int = 12, passes: int = 3, **more: Any) -> tuple[Any, Any]:
    """A replay after a few passes."""
    prepared = speculative.prepare(PLAN, golden_model(), Speculation(window=window), **OPTIONS, **more)
    state = speculative.new_state(prepared, IDS)
    speculative.replay(prepared, state, cancelled=lambda: state.passes == passes)
    return prepared, state


def test_a_resumed_replay_does_what_it_would_have_done(tmp_path: Path) -> None:
    prepared, state = begun()
    save_speculation(prepared, state, tmp_path / "state")
    again = load_speculation(prepared, tmp_path / "state", IDS)
    assert (again.accepted.tolist(), again.fed.tolist()) == (state.accepted.tolist(), state.fed.tolist())
    kept = load_file(tmp_path / "state")
    assert kept["cache.0"].shape[2] == prepared.columns.zeros + state.accepted.max()
    rest, whole = speculative.replay(prepared, again), speculative.replay(prepared, state)
    np.testing.assert_array_equal(rest.tokens, whole.tokens)
    assert rest.passes == whole.passes
    np.testing.assert_array_equal(rest.tokens, step_by_step(PLAN, golden_model(), IDS, **OPTIONS))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("more", [{"own": True}, {"own": False}])
def test_other_windows_go_on_from_every_pass(own: bool, more: Any, tmp_path: Path) -> None:
    want = step_by_step(PLAN, golden_model(), IDS, **OPTIONS)
    for passes in (1, 4, 9):
        prepared, state = begun(passes=passes, **more)
        save_speculation(prepared, state, tmp_path / "state")
        other = speculative.prepare(PLAN, golden_model(), Speculation(window=30, draft="left"), own=own, **OPTIONS)
        done = speculative.replay(other, load_speculation(other, tmp_path / "state", IDS))
        np.testing.assert_array_equal(done.tokens, want)


def test_files_of_other_runs_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    prepared, state = begun()
    save_speculation(prepared, state, path)
    other = speculative.prepare(PLAN, golden_model(), Speculation(window=12), **{**OPTIONS, "seed": 5})
    with pytest.raises(MismatchError, match="expected a checkpoint with seed=5, got seed=4"):
        load_speculation(other, path, IDS)
    with pytest.raises(MismatchError, match="expected a checkpoint with given="):
        load_speculation(prepared, path, IDS[:, ::-1] % 20)
    with safe_open(str(path), framework="np") as file:
        about = file.metadata()
    arrays = load_file(path)

    def damaged(**changed: Any) -> None:
        save_file({**arrays, **changed}, tmp_path / "damaged", metadata=about)
        load_speculation(prepared, tmp_path / "damaged", IDS)

    for name, array in {
        "accepted": np.array([1 << 40, 1]), "fed": arrays["fed"].astype(np.int32), "tokens": arrays["tokens"][:, 1:],
        "cache.0": arrays["cache.0"][:, :, 1:],
    }.items():  # fmt: skip
        with pytest.raises(DocumentError, match="of this plan's shape"):
            damaged(**{name: np.ascontiguousarray(array)})
    with pytest.raises(DocumentError, match="expected the contents that were written"):
        damaged(fed=arrays["fed"] + 1)
    about["diagplan"] = json.dumps({**json.loads(about["diagplan"]), "format": "another"})
    with pytest.raises(DocumentError, match="a safetensors file of another kind"):
        damaged()
