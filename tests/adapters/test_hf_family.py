"""Records of transformers' families; tests/adapters/test_hf_files.py loads through them."""

import sys
from pathlib import Path

import pytest

from diagplan import LoadOptions, MissingExtraError, sampler_for
from diagplan.adapters import hf_family
from diagplan.adapters.families import FAMILIES, Family, family_named
from diagplan.adapters.samplers import Sample

RECORDS = [getattr(hf_family, name) for name in hf_family.__all__]


def test_every_record_is_in_the_table() -> None:
    assert {record.name for record in RECORDS} == set(FAMILIES.built_in) - {"mc-ar", "cosmos", "wham", "llamagen"}
    assert all(family_named(record.name) is record for record in RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_library_is_asked_for_first(record: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert record.open is not None
    for function in (record.load, record.open):
        with pytest.raises(MissingExtraError, match="transformers for models of transformers, got none"):
            function(tmp_path, LoadOptions())


def test_they_sample_plainly() -> None:
    """What a model's own files say is read by ``generation_defaults``."""
    assert sampler_for("emu3", temperature=0.5, top_k=3) == Sample(temperature=0.5, top_k=3)
