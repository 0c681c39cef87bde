import pytest

from diagplan import Layout, Raster, SpecError


def test_a_raster_makes_layouts() -> None:
    raster = Raster(ids=(4, 8), rows=2, cols=3, between_rows=(9,), lead=(1,), end=(9, 2))
    assert raster.layout(5) == Layout(frames=1, rows=2, cols=3, lead=5, between_rows=1)
    assert raster.layout(5, rows=4, cols=6) == Layout(frames=1, rows=4, cols=6, lead=5, between_rows=1)
    assert Raster.of({"ids": [4, 8], "rows": 2, "cols": 3, "between_rows": [9], "lead": [1], "end": [9, 2]}) == raster


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ids": (8, 4), "rows": 2, "cols": 3}, r"expected ids as a range \(low, high\), got ids=\(8, 4\)"),
        ({"ids": (1, 2, 3), "rows": 2, "cols": 3}, r"expected ids as a range"),
        ({"ids": 4, "rows": 2, "cols": 3}, "expected ids as a list of ids, got ids=4"),
        ({"ids": (4, 8), "rows": 0, "cols": 3}, "expected rows >= 1, got rows=0"),
        ({"ids": (4, 8), "rows": 1, "cols": 3, "end": (-1,)}, "expected end >= 0, got end=-1"),
        ({"ids": (4, 8), "rows": 1, "cols": 3, "lead": ("a",)}, "expected lead to be an integer, got lead='a'"),
        ({"ids": (4, 8), "rows": 1}, "expected the fields ids, .* of a raster, got no cols"),
        ({"ids": (4, 8), "rows": 1, "cols": 1, "size": 3}, "expected the fields ids, .* of a raster, got 'size'"),
    ],
)
def test_what_is_no_raster(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        Raster.of(fields)
