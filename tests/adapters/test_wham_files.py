"""WHAM's files: every form gives the golden logits; what a file does not tell is asked for; conversion; refusals."""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.lightning import open_lightning  # noqa: E402
from diagplan.adapters.pickles import Record, field  # noqa: E402
from diagplan.adapters.wham import CONFIGS, WhamConfig  # noqa: E402
from diagplan.adapters.wham_files import load_wham, open_wham, read_wham_config, wham_config_for  # noqa: E402
from diagplan.adapters.wham_tokenizer import load_wham_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.wham import CONFIG, DATA, FRAMES, TOKENS, causal_logits  # noqa: E402
from tests.support.wham_files import LEFT_OVER, WEIGHTS, write_lightning  # noqa: E402

PREFIX = "predictor.gpt_model."


def plain_names() -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in WEIGHTS.items() if name.startswith(PREFIX)}


# Every form


@pytest.mark.parametrize(
    "form", ["lightning", "state dict", "model", "safetensors", "one folder", "shards", "one matrix"]
)
def test_golden_logits_from_every_form(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    match form:
        case "lightning":
            write_lightning(path, monkeypatch)
        case "state dict":
            write_torch(plain_names(), path, holder=None)
        case "model":
            write_torch(WEIGHTS, path, holder="model")
        case "safetensors":
            write_safetensors(WEIGHTS | LEFT_OVER, path)
        case "one matrix":
            write_safetensors({name: w for name, w in WEIGHTS.items() if not name.endswith("wte.weight")}, path)
        case _:
            write_folder(WEIGHTS, path, shards=1 if form == "one folder" else 3)
    model = load_wham(path, config=CONFIG)
    np.testing.assert_allclose(causal_logits(model, DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)


def test_a_lightning_file_tells_what_tensors_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lightning(tmp_path / "w.ckpt", monkeypatch)
    assert "humanmodelling" not in sys.modules
    file = open_lightning(path)
    assert file.checkpoint.kind == "lightning"
    for name, tensor in WEIGHTS.items():
        assert file.checkpoint.read(name).equal(tensor), name
    args = field(file.hyper_parameters, "predictor_args")
    assert isinstance(args, Record)
    assert args.name == "humanmodelling.CreationArgs"
    assert field(field(args, "pl_class"), "anything") is None
    assert field(field(field(args, "pl_kwargs"), "model_spec"), "model_size") == "chinchilla-251M"
    _, notes = open_wham(path)
    assert (notes.n_head, notes.grid, notes.head_size) == (16, (3, 4), 16)
    tokenizer = load_wham_tokenizer(path)
    np.testing.assert_array_equal(tokenizer.encode(FRAMES), TOKENS)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_published_sizes_are_told_by_the_tensors(name: str, version: Any, bias: bool, tmp_path: Path) -> None:
    want = replace(CONFIGS[name], nanogpt_version=version, bias=bias)
    shapes = {PREFIX + key: shape for key, shape in want.shapes().items()}
    tokenizer = {"vq_vae._embedding.weight": (16384, 32), "encoder.pos_embeds.weight": (540, 1024)}
    for more in ({}, {f"context_encoders.images.{key}": shape for key, shape in tokenizer.items()}):
        checkpoint, notes = open_wham(write_sparse(shapes | more, tmp_path / "w"))
        assert wham_config_for(checkpoint, notes) == want
        assert wham_config_for(checkpoint, notes, name) == want


# What does not fit


def test_sizes_that_a_file_does_not_tell(tmp_path: Path) -> None:
    path = write_safetensors(WEIGHTS, tmp_path / "w")
    with pytest.raises(SpecError, match=r"got 2 layers of width 64.*Give a JSON file of a WhamConfig as config"):
        load_wham(path)
    known = r"wham-200m, wham-1\.6b, a JSON file or a WhamConfig"
    with pytest.raises(SpecError, match=f"expected config to be one of {known}, got config='wham-7b'"):
        load_wham(path, config="wham-7b")
    shapes = {PREFIX + key: shape for key, shape in replace(CONFIGS["wham-200m"], rows=17).shapes().items()}
    with pytest.raises(SpecError, match=re.escape("expected 18 x 30 image tokens and 16 action tokens a frame")):
        load_wham(write_sparse(shapes, tmp_path / "other"))


def test_tensors_of_another_config(tmp_path: Path) -> None:
    lacking = {name: w for name, w in WEIGHTS.items() if not name.endswith("h.1.mlp.c_proj.bias")}
    path = write_safetensors(lacking | {f"{PREFIX}transformer.extra": torch.zeros(2)}, tmp_path / "w")
    said = (
        f"expected the 29 tensors of the config, got {path} with 1 missing: {PREFIX}transformer.h.1.mlp.c_proj.bias; "
        f"1 unexpected: {PREFIX}transformer.extra. Weights and config must belong together."
    )
    with pytest.raises(DocumentError, match=f"^{re.escape(said)}.*microsoft/wham on Hugging Face") as caught:
        load_wham(path, config=CONFIG)
    assert "\n" not in str(caught.value)
    with pytest.raises(DocumentError, match=r"ln_1.weight.*microsoft/wham"):
        load_wham(path, config=replace(CONFIG, nanogpt_version=2))
    with pytest.raises(DocumentError, match="expected n_layer=2000000 layers"):
        load_wham(path, config=replace(CONFIG, n_layer=2_000_000))


def test_a_head_that_is_not_the_embedding(tmp_path: Path) -> None:
    other = WEIGHTS | {f"{PREFIX}transformer.wte.weight": WEIGHTS[f"{PREFIX}lm_head.weight"] + 1}
    path = write_safetensors(other, tmp_path / "w")
    with pytest.raises(DocumentError, match=r"expected predictor.gpt_model.transformer.wte.weight equal to"):
        load_wham(path, config=CONFIG)


def test_what_is_no_wham(tmp_path: Path) -> None:
    path = write_safetensors({"x": torch.zeros(2)}, tmp_path / "w")
    with pytest.raises(DocumentError, match=r"expected the transformer of a WHAM .*microsoft/wham on Hugging Face"):
        load_wham(path)
    for nothing in (tmp_path / "none", Path("a\0b")):
        with pytest.raises(DocumentError, match=r"where no file is\. Its publisher is microsoft/wham on Hugging Face"):
            load_wham(nothing)
    with pytest.raises(SpecError, match="expected a device of this machine"):
        load_wham(path, device="toaster")
    with pytest.raises(SpecError, match="expected dtype to be one of"):
        load_wham(path, dtype="int8")  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"format": "x"}, {"config": {}}, {"config": 3}, {"head_size": []}, None])
def test_notes_that_are_none(change: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from diagplan.adapters.wham_files import NOTES_KEY, notes_text

    text = json.dumps(json.loads(notes_text(CONFIG, 16)) | change) if change is not None else "["
    save_file({"x": torch.zeros(1)}, tmp_path / "w", metadata={NOTES_KEY: text})
    if change == {"head_size": []}:
        assert open_wham(tmp_path / "w")[1].head_size is None
        return
    with pytest.raises(DocumentError, match="expected notes of `diagplan convert-weights`"):
        open_wham(tmp_path / "w")


# A size that nobody published, from a JSON file


def test_a_config_of_a_file(tmp_path: Path) -> None:
    path = write_safetensors(WEIGHTS, tmp_path / "w")
    config = tmp_path / "sizes.json"
    config.write_text(json.dumps(asdict(CONFIG)))
    assert read_wham_config(config) == read_wham_config(str(config)) == CONFIG
    for given in (config, str(config)):
        model = load_wham(path, config=given)
        np.testing.assert_allclose(causal_logits(model, DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)
    checkpoint, notes = open_wham(path)
    assert wham_config_for(checkpoint, notes._replace(config=replace(CONFIG, n_head=1)), config) == CONFIG  # asked for
    few = tmp_path / "few.json"
    few.write_text('{"n_layer": 1, "n_head": 2, "n_embd": 8}')
    assert read_wham_config(few) == WhamConfig(n_layer=1, n_head=2, n_embd=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected a JSON object, got {path}, which is not JSON."),
        ("[" * 100_000, "expected a JSON object, got {path}, which is not JSON."),
        ("\udcff", "expected a JSON object, got {path}, which is not JSON."),
        ("[1]", "got {path} with list."),
        ('{"n_layer": 1, "n_head": 1, "n_embd": 8, "layers": 3}', "got {path} with layers."),
        ('{"n_layer": 1}', "expected the keys n_layer, n_head, n_embd at least, got {path} without n_head, n_embd."),
        ('{"n_layer": 1, "n_head": 3, "n_embd": 8}', "{path}: expected heads that divide the width"),
        ('{"n_layer": 1, "n_head": "2", "n_embd": 8}', "{path}: expected n_head"),
        ('{"n_layer": 1, "n_head": 1, "n_embd": 8, "bias": 1}', "{path}: expected bias to be true or false"),
        ('{"n_layer": 1, "n_head": 1, "n_embd": 8, "pad": "' + "x" * (1 << 20) + '"}', "at most 1048576 bytes"),
    ],
    ids=range(10),
)
def test_configs_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DocumentError, match=re.escape(words.format(path=path))) as caught:
        read_wham_config(path)
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, "x" * 5000):
        with pytest.raises(SpecError, match="a JSON file or a WhamConfig, got config='"):
            read_wham_config(path)
