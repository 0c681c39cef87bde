"""LlamaGen's record: loading and opening agree, its pictures, and what inspect-weights says."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, LoadOptions, Sample, compile_plan, replay  # noqa: E402
from diagplan.adapters.families import family_named  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.adapters.llamagen_config import CONFIGS  # noqa: E402
from diagplan.adapters.llamagen_family import FAMILY  # noqa: E402
from diagplan.models.estimates import sizes_before_loading, tokenizer_bytes  # noqa: E402
from diagplan.planner.presets import PRESETS  # noqa: E402
from tests.support.checkpoints import write_sparse, write_torch  # noqa: E402
from tests.support.cli import run_json  # noqa: E402
from tests.support.llamagen import CLASSES, trained  # noqa: E402
from tests.support.vq import LLAMAGEN, vq_weights  # noqa: E402


def test_load_and_open_agree(tmp_path: Path) -> None:
    path = write_torch(trained(CLASSES, torch.float32), tmp_path / "c2i.pt", holder="model")
    options = LoadOptions(config=CLASSES)
    model = FAMILY.load(path, options)
    assert FAMILY.open is not None
    opened = FAMILY.open(path, options)
    assert (opened.config, opened.vocab_size) == (CLASSES, model.vocab_size)
    sizes = sizes_before_loading("llamagen", path, options)
    assert sizes is not None
    assert sizes.weights == model.weight_bytes()


def test_the_record() -> None:
    assert family_named("llamagen") is FAMILY
    assert FAMILY.configs == tuple(CONFIGS)
    assert set(FAMILY.presets) == {name for name in PRESETS if name.startswith("llamagen")}


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    path = write_torch(vq_weights(LLAMAGEN), tmp_path / "vq_ds16_c2i.pt", holder="model")
    assert FAMILY.pictures is not None
    tokenizer = FAMILY.pictures.load(path, 2, 3, "cpu")
    assert tokenizer.decode(np.zeros((1, 2, 3), dtype=np.int64)).shape == (1, 4, 6, 3)
    assert tokenizer_bytes("llamagen", path) == 4 * sum(w.numel() for w in vq_weights(LLAMAGEN).values())


def test_from_files_to_codes_on_the_command_line(tmp_path: Path) -> None:
    weights = write_torch(trained(CLASSES, torch.float32), tmp_path / "c2i.pt", holder="model")
    sizes = {"n_head": 2, "multiple_of": 8, "largest_side": 12}
    (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    np.save(tmp_path / "class.npy", [CLASSES.vocab_size + 3])
    np.save(tmp_path / "null.npy", [CLASSES.vocab_size + CLASSES.num_classes])
    layout = ("--model", "llamagen-c2i-256", "--rows", 4, "--cols", 4)
    run_json("compile", *layout, "--k", 1, "-o", tmp_path / "plan.json")
    options = ("--adapter", "llamagen", "--weights", weights, "--config", tmp_path / "sizes.json")
    given = ("--given", tmp_path / "class.npy", "--unconditional", tmp_path / "null.npy", "--guidance", 4)
    run_json("run", tmp_path / "plan.json", *options, *given, "--top-k", 20, "-o", tmp_path / "tokens.npy")
    plan = compile_plan(Layout(frames=1, rows=4, cols=4, lead=1), Diagonal(k=1))
    model = LlamaGen(CLASSES, trained(CLASSES, torch.float32))
    want = replay(
        plan, model, given=np.array([model.class_id(3)]), unconditional=np.array([model.class_id(None)]),
        guidance=4.0, sampler=Sample(top_k=20),
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy"), want)


def test_inspect_weights(tmp_path: Path) -> None:
    path = write_sparse(CONFIGS["XL-t2i"].shapes(), tmp_path / "t2i.safetensors")
    report = run_json("inspect-weights", path)
    assert (report["family"], report["sizes"]["num_hidden_layers"]) == ("llamagen", 36)
    assert report["closest"][0]["configs"] == ["XL-t2i"]
    assert report["closest"][0]["fits"]
    torch.save({"model": trained(CLASSES, torch.float32), "args": argparse.Namespace()}, tmp_path / "c2i.pt")
    report = run_json("inspect-weights", tmp_path / "c2i.pt")
    assert report["family"] == "llamagen"
    against = run_json("inspect-weights", path, "--config", "B")
    assert not against["closest"][0]["fits"]
