"""The table of a trace's rules: stable codes, one golden pair or more each, and what every entry says of itself."""

import re
from collections import Counter

from diagplan.planner.trace_checker import TRACE_RULES
from tests.support.invalid_traces import trace_cases

CASES = list(trace_cases())
BY_CODE = {rule.code: rule for rule in TRACE_RULES}


def test_every_rule_has_a_golden_pair() -> None:
    assert {case.code for case in CASES} == set(BY_CODE)


def test_rules_are_well_formed() -> None:
    assert len(BY_CODE) == len(TRACE_RULES)
    for rule in TRACE_RULES:
        assert rule.tier in range(5)
        assert rule.sentence.endswith(".")
        assert rule.remedy.endswith(".")
        assert (rule.find.__doc__ or "").startswith(f"{rule.code}: "), rule.code


def test_messages_follow_the_grammar() -> None:
    for case in CASES:
        assert re.fullmatch(r"expected .+, got .+\.", case.message), case.message


def test_every_predicate_serves_one_rule() -> None:
    assert set(Counter(rule.find for rule in TRACE_RULES).values()) == {1}


def test_codes_are_never_reused() -> None:
    """The codes so far: one that is given up stays in this list, and no rule may take it."""
    assert [rule.code for rule in TRACE_RULES] == [
        "DT100", "DT101", "DT102", "DT103", "DT104", "DT105", "DT106", "DT107", "DT108",
    ]  # fmt: skip
