"""The documentation is true: its commands print what it shows, its code runs, its links lead somewhere.

Fenced blocks run in the order of the page, in one empty folder. ``python`` blocks share one namespace; a ``text`` block
right behind one shows what it prints. In ``console`` blocks the lines ``$ ...`` are run by a shell and the lines below
are what stdout and stderr show together. ``breach`` blocks are examples of the checker's rules.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.pages import DOCS, PAGES, ROOT, links, run_page, shows, slugs

FORMAT = DOCS / "plan-format.md"
INDEX = DOCS / "README.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\nc\n", "a\nc\n", True),
        ("...\nc\n", "a\nc\nd\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("22 proved, 7.0 s\n", "\n22 proved, 13.1 s  \n", True),
        ("22 proved, 7.0 s\n", "21 proved, 7.0 s\n", False),
        ("5 steps\n", "6 steps\n", False),
        ("", "a\n", False),
    ],
)
def test_the_matcher(shown: str, printed: str, same: bool) -> None:
    assert shows(shown, printed) is same


#: Pages whose commands export or train take longest.
RUN = [
    pytest.param(page, marks=pytest.mark.slow) if page.name in ("onnx.md", "finetuning.md", "tuning.md") else page
    for page in PAGES
    if page != FORMAT
]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_what_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "replay(" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
        write_model_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


def write_model_files(folder: Path) -> None:
    """What the pages that replay plans start from: a small random MC-AR model, a prompt and actions."""
    from safetensors.torch import save_file

    from diagplan.adapters.mc_ar import McArConfig, random_weights

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    sizes |= {"num_key_value_heads": 1, "vocab_size": 8262, "max_position_embeddings": 5552}
    (folder / "config.json").write_text(json.dumps(sizes | {"image_vocab": 8192}))
    save_file(random_weights(McArConfig(**sizes, image_vocab=8192)), folder / "model.safetensors")
    rng = np.random.default_rng(0)
    np.save(folder / "prompt.npy", rng.integers(0, 8192, (1, 14, 24)))
    np.save(folder / "actions.npy", rng.integers(8192, 8262, (15, 11)))


# Links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in slugs(target), f"{page.name} links to {link}, which has {sorted(slugs(target))}"


def test_the_index_names_every_page() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(INDEX)}
    assert {page for page in PAGES if page not in (INDEX, ROOT / "CHANGELOG.md")} <= linked
    assert INDEX in {(ROOT / link).resolve() for link in links(ROOT / "README.md")}
