"""`diagplan steps`."""

from tests.support.cli import run_json


def test_steps_side_by_side() -> None:
    value = run_json("steps", "--model", "mc-ar", "--frames", "15", "--k", "1,2,4,24")
    assert value["next_token_steps"] == 5040
    assert [line["steps"] for line in value["schedules"]] == [555, 750, 1140, 5040]
    assert [round(line["speedup"], 2) for line in value["schedules"]] == [9.08, 6.72, 4.42, 1.0]
    assert [round(line["approximate"], 3) for line in value["schedules"]] == [8.842, 6.462, 4.2, 0.933]
    stacked = run_json("steps", "--model", "cosmos", "--k", "1", "--d", "40")["schedules"]
    assert [(line["steps"], line["approximate"], line["by"]) for line in stacked] == [(183, 64.0, "r_diag")]
