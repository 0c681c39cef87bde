"""The table of rules: stable codes, one golden pair or more each, and what every entry says of itself."""

import re
from collections import Counter

from diagplan.planner.checker import RULES
from tests.support.invalid_plans import cases

CASES = list(cases())
BY_CODE = {rule.code: rule for rule in RULES}


def test_every_rule_has_a_golden_pair() -> None:
    assert {case.code for case in CASES} == set(BY_CODE)


def test_rules_are_well_formed() -> None:
    assert len(BY_CODE) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"DP[1-5]\d\d", rule.code)
        assert rule.tier in (0, 1, 2, 3)
        assert rule.severity in ("error", "warning")
        assert rule.sentence.endswith(".")
        assert rule.remedy.endswith(".")


def test_messages_follow_the_grammar() -> None:
    for case in CASES:
        assert re.fullmatch(r"expected .+, got .+\.", case.message), case.message


def test_the_table_is_in_the_order_of_codes_and_every_predicate_serves_one_rule() -> None:
    assert [rule.code for rule in RULES] == sorted(BY_CODE)
    assert set(Counter(rule.find for rule in RULES).values()) == {1}


def test_every_predicate_names_its_rule() -> None:
    for rule in RULES:
        assert (rule.find.__doc__ or "").startswith(f"{rule.code}: "), rule.code


def test_codes_are_never_reused() -> None:
    """The codes so far: one that is given up stays in this list, and no rule may take it."""
    assert [rule.code for rule in RULES] == [
        "DP100", "DP101", "DP102", "DP103", "DP104", "DP105", "DP201", "DP202", "DP203", "DP204", "DP205", "DP206",
        "DP301", "DP302", "DP303", "DP304", "DP305", "DP401", "DP402", "DP403", "DP404", "DP405", "DP406", "DP407",
        "DP501", "DP502", "DP503", "DP504", "DP505", "DP506",
    ]  # fmt: skip
