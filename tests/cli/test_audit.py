"""`diagplan audit`."""

from tests.support.cli import run, run_json


def test_audit_is_a_report() -> None:
    value = run_json("audit")
    assert value["counts"] == {"rounds": 41, "truncates": 2, "no": 10}
    assert len(value["cells"]) == 53
    assert {"model", "algorithm", "published", "law", "agrees"} <= set(value["cells"][0])
    assert "53 cells: 41 agree" in run("audit")[1]
