"""What a checkpoint holds beside what a model expects: every problem is named, in one error."""

import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.headers import Header, check_weights, compare_weights  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402


def test_every_problem_is_named_in_one_error() -> None:
    headers = {
        "t.model.a": Header((3, 4), "float32"),
        "t.model.b": Header((2,), "float32"),
        "t.model.c": Header((5,), "int8"),
        "t.model.x": Header((1,), "float32"),
        "vae.model.y": Header((1,), "float32"),
    }
    expected = {"model.a": (3, 4), "model.b": (2, 2), "model.c": (5,), "model.d": (6,)}
    words = "1 missing: t.model.d; 1 unexpected: t.model.x; 1 of another shape: t.model.b [2] for [2, 2]; "
    words += "1 not of a float dtype: t.model.c (int8)"
    message = f"expected the 4 tensors of the config, got w.ckpt with {words}. Weights and config must belong together."
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}"):
        check_weights(headers, expected, source="w.ckpt", prefixes=("t.", ""), ignored=("vae.*",))
    assert compare_weights(headers, expected, prefixes=("t.", ""), ignored=("vae.*",)).problems == 4


def test_long_lists_are_counted() -> None:
    expected = {f"w{i}": (1,) for i in range(2000)}
    words = compare_weights({}, expected).words()
    assert words == "2000 missing: w0, w1, w2, w3, w4, w5, w6, w7 and 1,992 more"


def test_names_by_prefix_and_alias() -> None:
    headers = {"t.embed": Header((4, 2), "bfloat16"), "t.norm": Header((2,), "float64")}
    expected = {"embed": (4, 2), "norm": (2,), "head": (4, 2)}
    names = check_weights(headers, expected, source="w", prefixes=("t.", ""), aliases={"head": "embed"})
    assert names == {"embed": "t.embed", "norm": "t.norm", "head": "t.embed"}
    # The own tensor of a tied name comes before its alias, and another prefix is not mixed in.
    more = headers | {"t.head": Header((4, 2), "float32")}
    assert check_weights(more, expected, source="w", prefixes=("t.",), aliases={"head": "embed"})["head"] == "t.head"
    mixed = headers | {"head": Header((4, 2), "float32")}
    assert compare_weights(mixed, expected, prefixes=("t.", "")).unexpected == ("head",)
