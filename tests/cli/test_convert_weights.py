"""From a published file to tokens on the command line: inspect, convert, run; and ``load_model``."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import diagplan  # noqa: E402
from diagplan.adapters.wham import CONFIGS, WhamConfig, random_weights  # noqa: E402
from diagplan.adapters.wham_files import PUBLISHER  # noqa: E402
from diagplan.adapters.wham_tokenizer import WhamTokenizerConfig, load_wham_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_safetensors, write_sparse  # noqa: E402
from tests.support.cli import invoke, run_json  # noqa: E402
from tests.support.wham import CONFIG, DATA  # noqa: E402
from tests.support.wham_files import WEIGHTS, write_lightning  # noqa: E402

PREFIX = "predictor.gpt_model."
#: Of the published shape in all that a file does not tell, as small as can be.
TINY = WhamConfig(n_layer=1, n_head=16, n_embd=32, nanogpt_version=2, bias=False, image_codes=64)
VISION = WhamTokenizerConfig(width=32, encoder_layers=1, decoder_layers=1, code_dim=4, codes=64, head_size=16)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as Lightning writes it, whose hyper-parameters tell heads and head size."""
    generator = torch.Generator().manual_seed(1)
    vision = {f"context_encoders.images.{n}": torch.randn(s, generator=generator) for n, s in VISION.shapes().items()}
    weights = {f"{PREFIX}{name}": w.clone() for name, w in random_weights(TINY).items()}
    spec = {"image_size_per_x_axis": 300, "image_size_per_y_axis": 180}
    return write_lightning(tmp_path / "tiny.ckpt", monkeypatch, weights | vision, **spec)


def test_from_a_published_file_to_tokens(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    said = run_json("convert-weights", published, "-o", out)
    assert (said["config"], said["tokenizer"]) == (asdict(TINY), asdict(VISION))
    assert (said["tensors"], said["left_out"]) == (len(TINY.shapes()) + len(VISION.shapes()), 0)
    assert (said["bytes_written"], said["out"]) == (out.stat().st_size, str(out))

    model = diagplan.load_model("wham", out)
    assert model.fingerprint() == diagplan.load_model("wham", published).fingerprint()
    assert load_wham_tokenizer(out).config == VISION

    plan = diagplan.compile_plan(TINY.layout(1, prompt_frames=1), diagplan.Diagonal(k=1))
    diagplan.write_plan(plan, tmp_path / "plan.json")
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, 64, (1, 18, 30))
    np.save(tmp_path / "prompt.npy", prompt)
    np.save(tmp_path / "actions.npy", rng.integers(64, 64 + 68, (1, 16)))
    files = ["--prompt", tmp_path / "prompt.npy", "--actions", tmp_path / "actions.npy"]
    options = ["--adapter", "wham", "--top-p", "1", "--temperature", "0", "-o", tmp_path / "tokens.npy"]
    assert run_json("run", tmp_path / "plan.json", "--weights", out, *files, *options)["passes"] == 47
    tokens = np.load(tmp_path / "tokens.npy")
    assert tokens.shape == (1, 1, 18, 30)
    assert 0 <= tokens.min() <= tokens.max() < 64
    want = diagplan.replay(
        plan, model, prompt, np.load(tmp_path / "actions.npy"), sampler=diagplan.Sample(temperature=0.1)
    )
    np.testing.assert_array_equal(tokens, want)


def test_a_size_that_nobody_published(tmp_path: Path) -> None:
    """Neither hyper-parameters nor shapes tell its heads: a file does, for every command."""
    vision = WhamTokenizerConfig(
        rows=CONFIG.rows, cols=CONFIG.cols, width=32, encoder_layers=1, decoder_layers=1, code_dim=4,
        codes=CONFIG.image_codes, head_size=16,
    )  # fmt: skip
    golden = {name: value for name, value in WEIGHTS.items() if name.startswith(PREFIX)}
    weights = write_safetensors(
        golden | {f"context_encoders.images.{n}": torch.zeros(shape) for n, shape in vision.shapes().items()},
        tmp_path / "w.safetensors",
    )
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps(asdict(CONFIG)))
    plan, given = tmp_path / "plan.json", tmp_path / "given.npy"
    diagplan.write_plan(diagplan.compile_plan(CONFIG.layout(1, prompt_frames=2), diagplan.NextToken()), plan)
    np.save(given, DATA["gen2/prompt_ids"])
    out = tmp_path / "tokens.npy"
    asked = ["run", plan, "--adapter", "wham", "--given", given, "--temperature", "0", "--top-k", "1", "-o", out]
    code, said = invoke(*asked, "--weights", weights)
    assert (code, "Give a JSON file of a WhamConfig as config." in said) == (2, True)
    run_json(*asked, "--weights", weights, "--config", sizes)
    np.testing.assert_array_equal(np.load(out).reshape(2, -1), DATA["gen2/image_tokens"])

    (closest,) = run_json("inspect-weights", weights, "--config", sizes)["closest"]
    assert (closest["configs"], closest["fits"]) == ([str(sizes)], True)
    (closest,) = run_json("inspect-weights", weights)["closest"]
    assert not closest["fits"]

    converted = tmp_path / "converted.safetensors"
    asked_of = ["convert-weights", weights, "-o", converted, "--head-size", 16]
    assert invoke(*asked_of)[0] == 2
    assert run_json(*asked_of, "--config", sizes)["config"] == asdict(CONFIG)
    run_json(*asked, "--weights", converted)  # the file tells it now
    np.testing.assert_array_equal(np.load(out).reshape(2, -1), DATA["gen2/image_tokens"])

    sizes.write_text('{"n_layer": 2}')
    for command in (["inspect-weights", weights], asked_of, [*asked, "--weights", weights]):
        code, said = invoke(*command, "--config", sizes)
        assert (code, said.count("\n")) == (1, 1)
        assert "expected the keys n_layer, n_head, n_embd at least" in said
    code, said = invoke("convert-weights", weights, "-o", sizes, "--config", sizes)
    assert (code, "expected different files, got --config and -o both" in said) == (2, True)


def test_what_conversion_prints(published: Path, tmp_path: Path) -> None:
    code, out = invoke("convert-weights", published, "-o", tmp_path / "w")
    assert code == 0
    assert "version 2, without biases" in out
    assert "10 frames of 18 x 30 + 16 tokens" in out
    assert f"wrote {tmp_path / 'w'}" in "".join(out.split("\n")[-2:])


def test_what_conversion_refuses(published: Path, tmp_path: Path) -> None:
    code, out = invoke("convert-weights", published, "-o", published)
    assert (code, out.count("\n")) == (2, 1)
    assert "expected different files" in out
    code, out = invoke("convert-weights", tmp_path / "none.ckpt", "-o", tmp_path / "w", "--json")
    assert code == 1
    assert PUBLISHER in json.loads(out)["error"]
    code, out = invoke("convert-weights", published, "-o", tmp_path / "w", "--config", "wham-7b")
    assert code == 2
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("name", CONFIGS)
def test_inspection_knows_the_published_sizes(name: str, tmp_path: Path) -> None:
    shapes = {PREFIX + key: shape for key, shape in CONFIGS[name].shapes().items()}
    tokenizer = {f"context_encoders.images.{key}": shape for key, shape in WhamTokenizerConfig().shapes().items()}
    report = run_json("inspect-weights", write_sparse(shapes | tokenizer, tmp_path / "w"))
    assert (report["family"], report["image_tokenizer_tensors"]) == ("wham", len(tokenizer))
    assert report["sizes"]["positions"] == 5560
    (closest,) = report["closest"]
    assert (closest["configs"], closest["fits"], closest["prefix"]) == ([name], True, PREFIX)


def test_inspection_of_lightning_files(published: Path, tmp_path: Path) -> None:
    report = run_json("inspect-weights", published)
    assert (report["kind"], report["family"]) == ("lightning", "wham")
    assert not report["closest"][0]["fits"]
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(published.read_bytes()[:-200])
    code, out = invoke("inspect-weights", broken)
    assert (code, out.count("\n")) == (1, 1)


def test_load_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lightning(tmp_path / "w.ckpt", monkeypatch)
    model = diagplan.load_model("wham", path, config=CONFIG)
    layout = CONFIG.layout(1, prompt_frames=2)
    frame = diagplan.replay(diagplan.compile_plan(layout, diagplan.NextToken()), model, given=DATA["gen2/prompt_ids"])
    np.testing.assert_array_equal(frame.reshape(2, -1), DATA["gen2/image_tokens"])
    with pytest.raises(SpecError, match=r"expected adapter to be one of mc-ar, cosmos, wham, .*, got adapter='whale'"):
        diagplan.load_model("whale", path)
    with pytest.raises(DocumentError, match="microsoft/wham on Hugging Face"):
        diagplan.load_model("wham", tmp_path / "none")
    assert len(WEIGHTS) > 40
