"""Text features: from files, and by a small random T5 that the tests make."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.cosmos import Cosmos  # noqa: E402
from diagplan.adapters.cosmos_text import encode_text, read_text_features  # noqa: E402
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError  # noqa: E402
from tests.support.checkpoints import write_safetensors, write_torch  # noqa: E402
from tests.support.cosmos_files import write_t5  # noqa: E402
from tests.support.cosmos_golden import causal_logits, golden  # noqa: E402

FEATURES = np.random.default_rng(0).normal(size=(2, 5, 12)).astype(np.float32)

# Files


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("batch", [False, True])
def test_npy_and_safetensors(dtype: str, batch: bool, tmp_path: Path) -> None:
    features = (FEATURES if batch else FEATURES[0]).astype(dtype)
    np.save(tmp_path / "text.npy", features)
    write_safetensors({"context": torch.from_numpy(features)}, tmp_path / "text.safetensors")
    want = torch.from_numpy(features).float()
    for name in ("text.npy", "text.safetensors"):
        read = read_text_features(str(tmp_path / name))
        assert read.dtype == torch.float32
        assert read.equal(want if batch else want[None])


def test_bfloat16_in_fortran_order_and_under_another_name(tmp_path: Path) -> None:
    write_safetensors({"x": torch.from_numpy(FEATURES).bfloat16()}, tmp_path / "text.npy")
    assert read_text_features(tmp_path / "text.npy").equal(torch.from_numpy(FEATURES).bfloat16().float())
    np.save(tmp_path / "fortran.npy", np.asfortranarray(FEATURES))
    assert read_text_features(tmp_path / "fortran.npy").equal(torch.from_numpy(FEATURES))


def refused(path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        read_text_features(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_holds_no_features(tmp_path: Path) -> None:
    path = tmp_path / "text"
    assert "No such file" in refused(path)
    assert "cannot read" in refused(tmp_path)
    path.write_bytes(b"")
    assert "expected text features as .npy or .safetensors" in refused(path)
    write_torch({"x": torch.from_numpy(FEATURES)}, path)
    assert "which is neither. Save the last hidden state of T5-11B with numpy.save" in refused(path)
    write_safetensors({"x": torch.zeros(2, 3), "y": torch.zeros(2)}, path)
    assert "expected one tensor of text features" in refused(path)
    for array in (FEATURES[0, 0], FEATURES[:, :0], FEATURES.astype(np.int32), FEATURES.astype(np.complex64)):
        np.save(tmp_path / "text.npy", array)
        assert "expected text features, float [tokens, width] or [batch, tokens, width]" in refused(
            tmp_path / "text.npy"
        )
    for array in (np.array(["a", "b"]), np.array([b"a"])):
        np.save(tmp_path / "text.npy", array)
        assert "expected a .npy array of floats" in refused(tmp_path / "text.npy")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "elements of object" in refused(tmp_path / "text.npy")


@given(data=st.data())
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "text-damage"
    folder.mkdir(exist_ok=True)
    np.save(folder / "text.npy", FEATURES)
    write_safetensors({"x": torch.from_numpy(FEATURES)}, folder / "text.safetensors")
    whole = bytearray((folder / data.draw(st.sampled_from(["text.npy", "text.safetensors"]))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 140))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (folder / "damaged").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        read_text_features(folder / "damaged")
    except DocumentError as error:
        assert "\n" not in str(error)  # noqa: PT017


# T5


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("t5"))


def test_a_text_becomes_features(t5: Path) -> None:
    features = encode_text(["a robot", "a"], t5, tokens=16)
    assert (features.shape, features.dtype) == ((2, 16, 24), torch.float32)
    lengths = (features != 0).any(-1).sum(-1)
    assert lengths.tolist() == [3, 2]  # "▁a ▁robot </s>", "▁a </s>"; zeros behind
    assert (features[0, 3:] == 0).all()
    assert encode_text("a robot", t5).shape == (1, 512, 24)
    torch.testing.assert_close(encode_text("a robot", t5)[0, :16], features[0])
    assert encode_text("a robot a robot a robot", t5, tokens=4).ne(0).any(-1).all()  # cut
    low = encode_text("a robot", t5, tokens=16, dtype=torch.bfloat16)
    assert low.dtype == torch.float32
    assert 1e-5 < (low[0] - features[0]).abs().max() < 0.2


def test_features_are_the_encoders_last_hidden_state(t5: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.T5ForConditionalGeneration.from_pretrained(t5).eval()
    with torch.inference_mode():
        want = model.encoder(input_ids=torch.tensor([[4, 5, 1]])).last_hidden_state
    torch.testing.assert_close(encode_text("a robot", t5, tokens=9)[:, :3], want)


def test_a_model_reads_what_t5_wrote(t5: Path, tmp_path: Path) -> None:
    case = golden("b")
    features = encode_text(["a robot", "a"], t5, tokens=6)
    np.save(tmp_path / "text.npy", features.numpy())
    model, ids = Cosmos(case.config, case.weights()), torch.from_numpy(case.data["tokens"])
    logits = causal_logits(model.with_context(features), ids)
    assert torch.isfinite(logits).all()
    assert causal_logits(model.with_context(read_text_features(tmp_path / "text.npy")), ids).equal(logits)


def test_texts_that_are_none(t5: Path) -> None:
    for texts in ("", " \n", ["a robot", "\u3000"]):
        number = 0 if isinstance(texts, str) else 1
        with pytest.raises(SpecError, match=rf"expected a text that says something, got .* as text {number}\."):
            encode_text(texts, t5)
    with pytest.raises(
        SpecError, match=re.escape(r"expected a text that UTF-8 can express, got '\udcff' at character 2 of text 0")
    ):
        encode_text("a \udcff", t5)


@pytest.mark.parametrize("shown", [True, False])
def test_loading_is_quiet_and_leaves_progress_bars_as_they_were(
    shown: bool, t5: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    logging = pytest.importorskip("transformers").utils.logging
    (tmp_path / "config.json").write_text("{")
    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
    try:
        encode_text("a robot", t5)
        assert capfd.readouterr() == ("", "")
        assert logging.is_progress_bar_enabled() is shown
        with pytest.raises(DocumentError):
            encode_text("a robot", tmp_path)
        assert logging.is_progress_bar_enabled() is shown
    finally:
        logging.disable_progress_bar()  # as write_t5 leaves them


def test_folders_without_a_t5(t5: Path, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"without config\.json\. Google publishes T5-11B .* google-t5/t5-11b"):
        encode_text("a", tmp_path)
    for file in t5.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SpecError, match="expected at least one text and one token, got 0 texts"):
        encode_text([], t5)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DocumentError, match="expected a folder with T5 and its tokenizer") as caught:
        encode_text("a", tmp_path)
    assert "\n" not in str(caught.value)
    write_safetensors({"shared.weight": torch.zeros(32, 24)}, tmp_path / "model.safetensors")
    with pytest.raises(DocumentError, match=re.escape("no weights for")):
        encode_text("a", tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DocumentError, match="expected a folder with T5 and its tokenizer"):
        encode_text("a", tmp_path)


def test_without_transformers(t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="pip install transformers"):
        encode_text("a", t5)
