"""WHAM's image tokenizer: golden codes and pictures, every file form, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.wham_tokenizer import WhamTokenizer, WhamTokenizerConfig, load_wham_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_folder, write_safetensors, write_torch  # noqa: E402
from tests.support.wham import FRAMES, TOKENIZER_DATA, TOKENIZER_SPEC, TOKENS  # noqa: E402

PREFIX = "context_encoders.images."
WEIGHTS = {
    name.removeprefix("w/"): torch.from_numpy(value) for name, value in TOKENIZER_DATA.items() if name.startswith("w/")
}
CONFIG = WhamTokenizerConfig(
    rows=3, cols=4, width=32, encoder_layers=2, decoder_layers=2, code_dim=8, codes=64, head_size=16
)
SIZES: dict[str, Any] = {"rows": 3, "cols": 4, "head_size": 16}


def golden_tokenizer() -> WhamTokenizer:
    return WhamTokenizer(CONFIG, {name.removeprefix(PREFIX): value for name, value in WEIGHTS.items()})


def test_shapes_are_the_checkpoints() -> None:
    want = {name.removeprefix(PREFIX): tuple(shape) for name, (shape, _) in TOKENIZER_SPEC["keys"].items()}
    assert CONFIG.shapes() == {name: shape for name, shape in want.items() if not name.endswith("attn_mask")}
    # With a mask in each of the 24 blocks the published one has 183 tensors.
    assert len(WhamTokenizerConfig().shapes()) + 24 == 183


def test_golden_codes() -> None:
    tokenizer = golden_tokenizer()
    pixels = tokenizer.pixels(torch.from_numpy(FRAMES))
    np.testing.assert_allclose(pixels.numpy(), TOKENIZER_DATA["preprocessed"], atol=1e-6)
    unit = TOKENIZER_DATA["z"] / np.linalg.norm(TOKENIZER_DATA["z"], axis=-1, keepdims=True)
    np.testing.assert_allclose(tokenizer.latents(pixels).numpy(), unit, atol=1e-5)
    np.testing.assert_array_equal(tokenizer.encode(FRAMES), TOKENS)


def test_golden_pictures() -> None:
    tokenizer = golden_tokenizer()
    codes = tokenizer.codebook[torch.from_numpy(TOKENIZER_DATA["indices"])]
    np.testing.assert_allclose(codes.numpy(), TOKENIZER_DATA["quantized"], atol=1e-6)
    frames = tokenizer.decode(TOKENS)
    want = TOKENIZER_DATA["decoded_u8"].transpose(0, 2, 3, 1)
    assert np.abs(frames.astype(int) - want.astype(int)).max() <= 1
    assert (frames == want).mean() > 0.99


def test_frames_do_not_depend_on_their_number() -> None:
    tokenizer, many = golden_tokenizer(), np.concatenate([FRAMES] * 5)
    np.testing.assert_array_equal(tokenizer.encode(many), np.concatenate([TOKENS] * 5))
    np.testing.assert_array_equal(tokenizer.decode(np.concatenate([TOKENS] * 5))[-1], tokenizer.decode(TOKENS)[-1])


def test_other_grids_are_row_major() -> None:
    """Moving a patch moves its token, once the positions are out of the way."""
    weights = {name.removeprefix(PREFIX): value.clone() for name, value in WEIGHTS.items()}
    weights["encoder.pos_embeds.weight"].zero_()
    # Blocks that mix nothing: a token then depends on its own patch alone.
    for name, weight in weights.items():
        if "c_proj" in name:
            weight.zero_()
    tokenizer = WhamTokenizer(CONFIG, weights)
    patches = FRAMES[0].reshape(3, 10, 4, 10, 3)
    moved = patches[::-1, :, ::-1].reshape(1, 30, 40, 3)
    np.testing.assert_array_equal(tokenizer.encode(moved)[0], tokenizer.encode(FRAMES[:1])[0, ::-1, ::-1])


@pytest.mark.parametrize("form", ["ckpt", "safetensors", "folder", "two halves"])
def test_file_forms(form: str, tmp_path: Path) -> None:
    training = {f"{PREFIX}lpips_model.lin0.weight": torch.zeros(3), f"{PREFIX}patch_gan.main.0.bias": torch.zeros(2)}
    path = tmp_path / "w"
    if form == "two halves":
        halves = {"encoder": "0.", "vq_vae": "0.", "decoder": "1."}
        held = {
            f"{PREFIX}{halves[name.removeprefix(PREFIX).split('.')[0]]}{name.removeprefix(PREFIX)}": tensor
            for name, tensor in WEIGHTS.items()
        }
        write_safetensors(held | {f"{PREFIX}1.vq_vae._embedding.weight": torch.zeros(64, 8)}, path)
    elif form == "folder":
        write_folder(WEIGHTS | training, path)
    else:
        (write_torch if form == "ckpt" else write_safetensors)(WEIGHTS | training, path)
    tokenizer = load_wham_tokenizer(path, **SIZES)
    assert tokenizer.config == CONFIG
    np.testing.assert_array_equal(tokenizer.encode(FRAMES), TOKENS)
    assert np.abs(tokenizer.decode(TOKENS).astype(int) - TOKENIZER_DATA["decoded_u8"].transpose(0, 2, 3, 1)).max() <= 1


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = write_safetensors(WEIGHTS, tmp_path / "w")
    with pytest.raises(SpecError, match=re.escape("expected 12 tokens a frame and square patches of 3 colours, got")):
        load_wham_tokenizer(path)
    with pytest.raises(SpecError, match=re.escape("expected heads that divide the width=32, got head_size=64.")):
        load_wham_tokenizer(path, rows=3, cols=4)
    lacking = {name: tensor for name, tensor in WEIGHTS.items() if not name.endswith("decoder.output_ln.bias")}
    odd = {f"{PREFIX}encoder.vit.0.ln_1.bias": torch.zeros(32)}
    path = write_safetensors(lacking | odd, tmp_path / "lacking")
    said = "with 1 missing: decoder.output_ln.bias; 1 unexpected: encoder.vit.0.ln_1.bias."
    with pytest.raises(DocumentError, match=f"{re.escape(said)}.*microsoft/wham on Hugging Face"):
        load_wham_tokenizer(path, **SIZES)
    path = write_safetensors({"predictor.x": torch.zeros(3)}, tmp_path / "none")
    with pytest.raises(DocumentError, match=r"expected the image tokenizer of a WHAM .*microsoft/wham"):
        load_wham_tokenizer(path)


def test_wrong_arrays() -> None:
    tokenizer = golden_tokenizer()
    frames: Any
    for frames in (FRAMES[0], FRAMES[:0], FRAMES[:, :20], FRAMES.astype(np.float32)):
        with pytest.raises(SpecError, match=re.escape("expected frames uint8 [T, 30, 40, 3], got")):
            tokenizer.encode(frames)
    tokens: Any
    for tokens in (TOKENS[0], TOKENS[:0], TOKENS[:, :2], TOKENS.astype(float)):
        with pytest.raises(SpecError, match=re.escape("expected tokens [T, 3, 4] of integers, got")):
            tokenizer.decode(tokens)
    for tokens in (TOKENS - 64, TOKENS + 64):
        with pytest.raises(SpecError, match="expected tokens from 0 to 63"):
            tokenizer.decode(tokens)
    with pytest.raises(SpecError, match="expected codes >= 1"):
        replace(CONFIG, codes=0)
