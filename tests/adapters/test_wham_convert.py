"""Conversion of a published WHAM checkpoint: whole or not at all, and enough by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.wham_convert import convert_wham  # noqa: E402
from diagplan.adapters.wham_files import load_wham  # noqa: E402
from diagplan.adapters.wham_tokenizer import load_wham_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.checkpoints import write_safetensors  # noqa: E402
from tests.support.wham import CONFIG, DATA, FRAMES, TOKENS, causal_logits  # noqa: E402
from tests.support.wham_files import LEFT_OVER, WEIGHTS, write_lightning  # noqa: E402

PREFIX = "predictor.gpt_model."
#: One model whose transformer and tokenizer have the same codes.
TOGETHER = replace(CONFIG, image_codes=64)


def _one_model() -> dict[str, Any]:
    vocab = TOGETHER.vocab_size
    head = torch.randn(vocab, 64, generator=torch.Generator().manual_seed(0))
    matrices = {f"{PREFIX}{name}": head.clone() for name in ("lm_head.weight", "transformer.wte.weight")}
    return {name: w for name, w in WEIGHTS.items() if name not in matrices} | matrices | LEFT_OVER


def test_a_converted_file_needs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lightning(tmp_path / "w.ckpt", monkeypatch, _one_model())
    target = tmp_path / "w.safetensors"
    seen: list[tuple[int, int]] = []
    done = convert_wham(source, target, config=TOGETHER, on_tensor=lambda i, n: seen.append((i, n)))
    kept = {name for name in _one_model() if "attn_mask" not in name and name not in LEFT_OVER}
    assert (done.tensors, done.left_out) == (len(kept), 2 + 4)
    assert seen == [(i + 1, len(kept)) for i in range(len(kept))]
    assert (done.bytes_read, done.bytes_written) == (source.stat().st_size, target.stat().st_size)
    from safetensors.torch import load_file

    written = load_file(target)
    assert set(written) == kept
    assert all(written[name].equal(_one_model()[name]) for name in kept)
    model, before = load_wham(target), load_wham(source, config=TOGETHER)
    assert model.config == TOGETHER
    np.testing.assert_array_equal(causal_logits(model, DATA["ids"]), causal_logits(before, DATA["ids"]))
    np.testing.assert_array_equal(load_wham_tokenizer(target).encode(FRAMES), TOKENS)
    again = convert_wham(target, tmp_path / "again")
    assert (again.tensors, again.left_out) == (len(kept), 0)
    assert (tmp_path / "again").read_bytes() == target.read_bytes()


def test_conversion_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lightning(tmp_path / "w.ckpt", monkeypatch, _one_model())
    target = tmp_path / "out" / "w.safetensors"
    with pytest.raises(DocumentError, match=r"expected to write a file, got path=.*No such file or directory"):
        convert_wham(source, target, config=TOGETHER)
    target.parent.mkdir()
    target.write_text("before")

    def stop(number: int, of: int) -> None:
        if number == of - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_wham(source, target, config=TOGETHER, on_tensor=stop)
    assert target.read_text() == "before"
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(SpecError, match="expected another file to write than"):
        convert_wham(source, tmp_path / "out" / ".." / "w.ckpt", config=TOGETHER)
    lacking = {name: w for name, w in _one_model().items() if "decoder" not in name}
    with pytest.raises(DocumentError, match=r"missing: decoder.*microsoft/wham"):
        convert_wham(write_safetensors(lacking, tmp_path / "l"), target, config=TOGETHER, head_size=16)
