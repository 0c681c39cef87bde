"""From weights to tokens: which backend runs them, which ids are given, guidance."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, LoadOptions, compile_plan, load_model, replay  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.table import options_for  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402
from diagplan.models.loading import given_ids, guided_ids, load_model_as  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402

PLAN = compile_plan(Layout(frames=1, rows=4, cols=4, lead=3), Diagonal(k=2))
MODEL = ImageModel.random(PLAN.positions)
GIVEN, OTHERS = np.array([[50, 51, 52], [52, 51, 50]]), np.array([49, 49, 49])


def test_an_export_is_known_by_its_files(tmp_path: Path) -> None:
    from tests.support.exported import exported_folder

    folder = exported_folder()
    assert options_for(folder, LoadOptions()) == options_for(folder, LoadOptions(backend="onnx"))
    model = load_model("mc-ar", folder)
    assert type(model).__name__ == "OnnxModel"
    with pytest.raises(MismatchError, match="expected an exported model of the adapter wham, got one of mc-ar"):
        load_model("wham", folder)
    with pytest.raises(SpecError, match="They were chosen when the model was exported"):
        load_model("mc-ar", folder, config="300M_16f")
    with pytest.raises(DocumentError):  # asked for by name, torch it is
        load_model_as("mc-ar", folder, LoadOptions(config="300M_16f"))
    (tmp_path / "model.onnx").write_bytes(b"")
    assert options_for(tmp_path, LoadOptions()).backend == "onnx"
    (tmp_path / "model-00001.safetensors").write_bytes(b"")
    assert options_for(tmp_path, LoadOptions()).backend == "torch"
    for nothing in ("x" * 5000, "a\0b", tmp_path / "none"):
        assert options_for(nothing, LoadOptions()) == LoadOptions()


def test_given_ids() -> None:
    np.testing.assert_array_equal(given_ids(PLAN, None, None, GIVEN[0]), GIVEN[:1])
    for prompt, given in ((None, None), (GIVEN, GIVEN)):
        with pytest.raises(MismatchError, match=r"expected a prompt .and actions. or all given ids"):
            given_ids(PLAN, prompt, None, given)


def test_rows_under_guidance() -> None:
    assert guided_ids(GIVEN, None, None) is GIVEN
    np.testing.assert_array_equal(guided_ids(GIVEN, 2.0, OTHERS), [*GIVEN, OTHERS, OTHERS])
    np.testing.assert_array_equal(guided_ids(GIVEN, 2.0, GIVEN[::-1]), [*GIVEN, *GIVEN[::-1]])
    for scale, others in ((2.0, None), (None, OTHERS)):
        with pytest.raises(MismatchError, match="expected guidance and unconditional ids together"):
            guided_ids(GIVEN, scale, others)
    with pytest.raises(MismatchError, match="for all samples or for each of 2, got 3 of them"):
        guided_ids(GIVEN, 2.0, np.stack([OTHERS] * 3))
    with pytest.raises(MismatchError, match="expected unconditional of shape"):
        guided_ids(GIVEN, 2.0, OTHERS[:2])


def test_rows_of_more_branches() -> None:
    rows = guided_ids(GIVEN, (3.0, -1.5, -0.5), [OTHERS, GIVEN[::-1]])
    np.testing.assert_array_equal(rows, [*GIVEN, OTHERS, OTHERS, *GIVEN[::-1]])
    for others in (OTHERS, [OTHERS], [OTHERS] * 3):
        with pytest.raises(MismatchError, match=r"expected a list of unconditional ids for 2 branch\(es\), got "):
            guided_ids(GIVEN, (3.0, -1.5, -0.5), others)
    with pytest.raises(SpecError, match="expected the weights of two branches or more for guidance, got 1"):
        guided_ids(GIVEN, (3.0,), [OTHERS])
    with pytest.raises(SpecError, match="expected guidance to be a finite number, got guidance='a'"):
        guided_ids(GIVEN, (3.0, "a"), [OTHERS])  # type: ignore[arg-type]


def test_weights_of_two_branches_are_a_scale() -> None:
    scaled = replay(PLAN, MODEL, given=GIVEN, guidance=3.0, unconditional=OTHERS)
    weighed = replay(PLAN, MODEL, given=GIVEN, guidance=(3.0, -2.0), unconditional=[OTHERS])
    np.testing.assert_array_equal(weighed, scaled)
    third = replay(PLAN, MODEL, given=GIVEN, guidance=(3.0, -2.0, 0.0), unconditional=[OTHERS, GIVEN[::-1]])
    np.testing.assert_array_equal(third, scaled)
    parted = replay(PLAN, MODEL, given=GIVEN, guidance=(3.0, -1.0, -1.0), unconditional=[OTHERS, OTHERS])
    np.testing.assert_array_equal(parted, scaled)
    other = replay(PLAN, MODEL, given=GIVEN, guidance=(3.0, -1.0, -1.0), unconditional=[OTHERS, GIVEN[::-1]])
    assert (other != scaled).any()


def test_guidance_is_that_of_the_executor() -> None:
    tokens = replay(PLAN, MODEL, given=GIVEN, guidance=3.0, unconditional=OTHERS)
    prepared = executor.prepare(PLAN, MODEL, batch=2, guidance=3.0)
    rows = np.concatenate([GIVEN, [OTHERS, OTHERS]])
    want = executor.replay(prepared, executor.new_state(prepared, rows)).tokens
    np.testing.assert_array_equal(tokens, want)
    assert (tokens != replay(PLAN, MODEL, given=GIVEN)).any()
    np.testing.assert_array_equal(  # scale 1 is the conditional logits alone
        replay(PLAN, MODEL, given=GIVEN, guidance=1.0, unconditional=OTHERS), replay(PLAN, MODEL, given=GIVEN)
    )


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "3"])
def test_a_scale_that_is_none(scale: Any) -> None:
    with pytest.raises(SpecError, match="expected guidance to be a finite number, got guidance="):
        replay(PLAN, MODEL, given=GIVEN, guidance=scale, unconditional=OTHERS)


def test_callbacks_count_passes_and_frames() -> None:
    passes: list[int] = []
    frames: list[tuple[int, tuple[int, ...]]] = []
    tokens = replay(
        PLAN, MODEL, given=GIVEN, on_pass=passes.append, on_frame=lambda n, ids: frames.append((n, ids.shape))
    )
    assert tokens.shape == (2, 1, 4, 4)
    assert passes == list(range(1, PLAN.steps + 1))
    assert frames == [(0, (2, 4, 4))]
