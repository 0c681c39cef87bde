"""docs/families.md has the table of families and that of backends as their records say."""

from diagplan.adapters.families import FAMILIES
from diagplan.backends.table import BACKENDS
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
