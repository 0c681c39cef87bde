"""The theorems on speculative replay, and their false variants, in plain Python; and what they assume, in plans."""

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan.planner.plan import Plan
from diagplan.planner.proofs.prover import ProofResult
from diagplan.planner.proofs.theorems import THEOREMS
from diagplan.planner.proofs.theorems_speculation import SPECULATION_THEOREMS
from tests.support.speculation import VOCABULARY, Entries, one_by_one, speculate
from tests.support.strategies import Request, plans
from tests.support.trace_judge import entries_of, prompt_of
from tests.support.walk import by_name, verdicts

pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

NAMES = [theorem.name for theorem in SPECULATION_THEOREMS]
Letters = dict[str, int]


def _run(v: Letters) -> range:
    """The entries that a pass feeds; none where the letters say nothing of a pass."""
    if v["n"] < 1 or not 0 <= v["a"] < v["N"]:
        return range(0)
    return range(v["a"], min(v["a"] + v["n"], v["N"]))


def _needs(entries: int, window: int) -> int:
    return len(range(0, entries, window))


def speculation_progress(v: Letters, wrong: bool) -> bool:
    run, step, other = _run(v), range(v["p"], v["q"]), range(v["p2"], v["q2"])
    apart = step == other or not set(step) & set(other)
    if v["x"] not in run or v["x"] not in other or v["a"] not in step or not apart or v["q"] > v["N"] or v["p2"] < 0:
        return True
    if not v["a"] <= v["d"] < (v["x"] if wrong else v["p2"]):
        return True
    least = min(v["q"], v["a"] + v["n"])
    return v["x"] not in step and all(one >= least > v["a"] for one in (v["x"], run.stop))


def speculation_step_passes(v: Letters, wrong: bool) -> bool:
    if v["n"] < 1 or not 0 <= v["a"] < v["q"] or not min(v["a"] + v["n"] - wrong, v["q"]) <= v["b"] < v["q"]:
        return True
    return _needs(v["q"] - v["b"], v["n"]) < _needs(v["q"] - v["a"], v["n"])


def speculation_later_steps(v: Letters, wrong: bool) -> bool:
    if v["n"] < 1 or v["b"] >= v["q"] or not (wrong or v["p"] <= v["b"]):
        return True
    return _needs(v["q"] - v["b"], v["n"]) <= _needs(v["q"] - v["p"], v["n"])


def speculation_clean_reads(v: Letters, wrong: bool) -> bool:
    run, bad = _run(v), v["w"]
    accepted = range(v["a"], v["b"])  # none of them was fed a wrong id
    if bad not in run or v["b"] > bad or v["x"] not in accepted or not 0 <= v["y"] <= v["x"]:
        return True
    touched = {v.get("P", bad) if wrong else bad}
    return v["y"] not in touched and v["y"] != bad and (v["y"] < v["a"] or v["y"] in run)


def speculation_stale_rows(v: Letters, wrong: bool) -> bool:
    run, before = _run(v), range(v["a0"], v["e0"])
    fed = run[1:] if wrong else run
    if v["x"] not in fed or not 0 <= v["a0"] <= v["a"] <= v["e0"] or v["y"] > v["x"]:
        return True
    rejected = [entry for entry in before if entry >= v["a"]]
    return v["y"] not in rejected or v["y"] in fed


def speculation_padding(v: Letters, wrong: bool) -> bool:
    run = _run(v)
    if v["x"] not in run or not 0 <= v["y"] <= v["x"] or not 0 <= v["i"] < v["n"] or v["U"] < 0:
        return True
    trash = v["N"] - 1 if wrong else v["N"] + v["U"]
    entry = v["a"] + v["i"]
    return (entry in run or entry >= v["N"]) and trash not in (*range(v["N"] + v["U"]), v["y"])


STATEMENTS = by_name(
    speculation_progress,
    speculation_step_passes,
    speculation_later_steps,
    speculation_clean_reads,
    speculation_stale_rows,
    speculation_padding,
)


@st.composite
def letters(draw: st.DrawFn) -> Letters:
    names = ("a", "b", "d", "e", "n", "N", "p", "q", "p2", "q2", "x", "y", "w", "a0", "e0", "i", "U", "P")
    return {name: draw(st.integers(0, 7)) for name in names}


@pytest.fixture(scope="module")
def proved() -> dict[str, ProofResult]:
    return verdicts(NAMES)


@pytest.fixture(scope="module")
def disproved() -> dict[str, ProofResult]:
    return verdicts(NAMES, "wrong")


def test_every_theorem_has_a_statement_here() -> None:
    assert set(STATEMENTS) == set(NAMES)
    assert set(SPECULATION_THEOREMS) < set(THEOREMS)


@pytest.mark.parametrize("name", NAMES)
def test_every_theorem_is_proved(name: str, proved: dict[str, ProofResult]) -> None:
    result = proved[name]
    assert (result.verdict, result.counterexample) == ("proved", None)
    assert all(proved[lemma].verdict == "proved" for lemma in result.lemmas)


@pytest.mark.parametrize("name", NAMES)
def test_every_false_variant_is_refuted_by_integers_that_break_it(name: str, disproved: dict[str, ProofResult]) -> None:
    result = disproved[name]
    assert result.verdict == "refuted"
    assert result.counterexample is not None
    assert not STATEMENTS[name](result.counterexample, True)
    assert STATEMENTS[name](result.counterexample, False)
    assert all(abs(value) <= 6 for value in result.counterexample.values())


@settings(max_examples=500)
@given(letters())
def test_the_statements_hold(v: Letters) -> None:
    for name, statement in STATEMENTS.items():
        assert statement(v, False), name


# What the theorems assume of a plan, and what follows from them, in plans of every schedule and policy.


@given(plans(frames=3, side=4))
def test_every_plan_is_as_the_theorems_assume(case: tuple[Request, Plan]) -> None:
    """Steps are runs of entries, a decider is of an earlier step, and who is seen comes earlier."""
    entries, sees = entries_of(case[1]), Entries(case[1]).sees
    decider = {entry.target: number for number, entry in enumerate(entries) if entry.target >= 0}
    assert [step for step, _ in groupby(entry.step for entry in entries)] == sorted({entry.step for entry in entries})
    for number, entry in enumerate(entries):
        if entry.source in decider:
            assert entries[decider[entry.source]].step < entry.step
        assert not sees[number, number + 1 :].any()
        assert sees[number, number]


@given(
    plans(frames=2, side=4),
    st.integers(1, 6) | st.integers(1, 60),
    st.sampled_from((0, 70, 95)),
    st.integers(0, VOCABULARY - 1),
    st.sampled_from(("own", "slowest")),
)
def test_tokens_progress_bound_and_clean_reads(
    case: tuple[Request, Plan], width: int, easy: int, shift: int, advance: str
) -> None:
    """Whatever is guessed: the plan's own tokens, in no more passes than the bound, from clean rows alone."""
    _, plan = case
    run = speculate(
        plan,
        width=width,
        numbers=(0, 4),
        advance=advance,  # type: ignore[arg-type]
        draft=lambda slot: (slot * 5 + shift) % VOCABULARY,
        easy=easy,
    )
    entries = entries_of(plan)
    widths = [len(list(group)) for _, group in groupby(entry.step for entry in entries)]
    widths[0] -= prompt_of(entries)
    for sample in run.trace.samples:
        assert sample.tokens.tolist() == one_by_one(plan, sample.number, easy).tolist()
        assert sample.passes <= sum(_needs(one, width) for one in widths)
        if width >= max(widths):
            assert sample.passes <= plan.steps
        assert (sample.accepted > sample.first).all()
    assert not any(run.unclean)
