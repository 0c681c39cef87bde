"""The page of budgets: its numbers are the code's."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from diagplan.adapters import headers, image_tokenizer, mc_ar_files, pickles, torch_zip, weights
from diagplan.schemas import arrays

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MIB, KIB = 1 << 20, 1 << 10


@pytest.mark.parametrize(
    "said",
    [
        f"{torch_zip._PICKLE_BYTES // MIB} MiB and {pickles._OPCODES:,} opcodes; names of classes of {pickles._NAME:,}",
        f"a list of members of {torch_zip._DIRECTORY_BYTES // MIB} MiB",
        f"| `.safetensors` | a header of {weights._HEADER_BYTES // MIB} MiB |",
        f"| `model.safetensors.index.json` | {weights._INDEX_BYTES // MIB} MiB |",
        f"{weights._TENSORS:,} tensors of {headers.AXES} axes",
        f"configuration in JSON | {mc_ar_files._CONFIG_BYTES // MIB} MiB |",
        f"{mc_ar_files._YAML_BYTES // KIB} KiB, and {mc_ar_files._YAML_VALUES:,} values",
        f"{image_tokenizer._DEEPEST} blocks, {image_tokenizer._DEEPEST} layers a block",
        f"sizes up to {image_tokenizer._LARGEST:,}",
        f"a header of {arrays._HEADER:,} bytes",
    ],
)
def test_limits(said: str) -> None:
    assert said in PAGE
