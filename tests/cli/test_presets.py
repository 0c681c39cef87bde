"""`diagplan presets`."""

from tests.support.cli import run_json


def test_presets_are_listed() -> None:
    value = run_json("presets")
    assert value["models"]["mc-ar"]["rows"] == 14
    assert set(value["bundles"]) == {"default", "mineworld-image", "mineworld-video", "zipar-llamagen"}
