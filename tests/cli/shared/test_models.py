"""Options that name a model: choices from the records, one value out of them."""

import pytest

from diagplan import LoadOptions, SpecError
from diagplan.adapters.families import FAMILIES
from diagplan.backends.table import BACKENDS
from diagplan.cli.shared.models import AdapterOption, BackendOption, load_options


@pytest.mark.parametrize(("option", "names"), [(AdapterOption, FAMILIES.names()), (BackendOption, BACKENDS.names())])
def test_help_and_completion_are_the_records(option: object, names: tuple[str, ...]) -> None:
    (info,) = option.__metadata__  # type: ignore[attr-defined]
    assert info.autocompletion() == list(names)
    assert all(name in info.help for name in names)


def test_int8_is_a_way_to_quantise() -> None:
    assert load_options(int8=True) == LoadOptions(quantize="int8", threads="auto")
    assert load_options(backend="onnx", threads=2) == LoadOptions(backend="onnx", threads=2)
    with pytest.raises(SpecError, match="expected threads >= 1"):
        load_options(threads=0)
