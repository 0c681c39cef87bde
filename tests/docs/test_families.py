"""What the pages say of families, backends and their files is what the records and the adapters say."""

import re

import pytest

from diagplan.adapters.families import FAMILIES
from diagplan.backends.table import BACKENDS
from diagplan.planner.compiler import compile_plan
from diagplan.planner.presets import PRESETS
from diagplan.planner.schedule import Diagonal
from tests.support.pages import DOCS, table

PAGE = DOCS / "families.md"


def names(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def test_the_table_of_families_is_the_records() -> None:
    head, *rows = table(PAGE, "name", with_head=True)
    assert head == ["name", "what it is", "weights", "`config`", "releases", "presets"]
    assert rows == [
        [f"`{one.name}`", one.title, one.weights, names(one.configs), names(one.releases), names(one.presets)]
        for one in (FAMILIES.get(name) for name in FAMILIES.built_in)
    ]


def test_the_table_of_backends_is_the_records() -> None:
    head, *rows = table(PAGE, "name", with_head=True, after="## Backends")
    assert head == ["name", "what it is", "runs exported models"]
    assert rows == [
        [f"`{one.name}`", one.title, "yes" if one.exported else "no"]
        for one in (BACKENDS.get(name) for name in BACKENDS.built_in)
    ]


def test_the_table_of_image_grids_is_the_presets() -> None:
    rows = table(PAGE, "preset", after="## Grids of image models")
    layouts = {name: preset.layout for name, preset in PRESETS.items() if preset.layout.frames == 1}
    plans = {name: [compile_plan(layout, Diagonal(k=k)).steps for k in (1, 2, 4)] for name, layout in layouts.items()}
    assert rows == [
        [f"`{name}`", f"{layout.rows} x {layout.cols}", f"{layout.tokens:,}", *(f"{steps:,}" for steps in plans[name])]
        for name, layout in layouts.items()
    ]


def test_download_commands_name_the_publishers_repositories() -> None:
    def downloads(page: str) -> set[tuple[str, ...]]:
        text = (DOCS / page).read_text(encoding="utf-8")
        pattern = r"^    hf download (\S+)((?: [\w.]+)*) --"
        return {(name, *files.split()) for name, files in re.findall(pattern, text, re.M)}

    pytest.importorskip("torch")
    from diagplan.adapters import cosmos_tokenizer, wham_files
    from diagplan.adapters.cosmos_config import REPOSITORIES

    cosmos = downloads("cosmos.md")
    assert cosmos >= {(name, "model.pt") for name in REPOSITORIES.values()}
    assert (cosmos_tokenizer.REPOSITORY, "encoder.jit", "decoder.jit") in cosmos
    assert downloads("wham.md") == {("microsoft/wham", "WHAM_200M.ckpt"), ("microsoft/wham", "WHAM_1.6B_v1.ckpt")}
    assert all(word in wham_files.PUBLISHER for one in downloads("wham.md") for word in one)
