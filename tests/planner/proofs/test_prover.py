import re
import subprocess
import sys
from typing import Any

import pytest

from diagplan.planner.errors import MissingExtraError, SpecError
from diagplan.planner.proofs.prover import Variant, _Prover, prove
from diagplan.planner.proofs.symbols import Claim, Use
from diagplan.planner.proofs.theorems import THEOREMS

z3: Any = pytest.importorskip("z3", reason="the proofs need z3-solver: pip install 'diagplan[prove]'")

NAMES = [theorem.name for theorem in THEOREMS]


@pytest.mark.parametrize("variant", ["true", "wrong"])
def test_results_carry_the_words_of_the_table(variant: Variant) -> None:
    (result,) = prove(["total-steps"], variant=variant)
    (theorem,) = (theorem for theorem in THEOREMS if theorem.name == "total-steps")
    assert (result.name, result.formula) == (theorem.name, theorem.formula)
    assert result.words == (theorem.words if variant == "true" else theorem.wrong)
    assert result.seconds > 0


def test_a_result_names_the_lemmas_it_rests_on() -> None:
    results = {result.name: result.lemmas for result in prove(["clamping", "mask-row-given"])}
    assert results == {"clamping": (), "mask-row-given": ("raster-order", "product-order")}


@pytest.mark.parametrize("variant", ["true", "wrong"])
def test_a_result_does_not_depend_on_what_else_is_asked(variant: Variant) -> None:
    (alone,) = prove(["raster-order"], variant=variant)
    first, among_others, last = prove(["total-steps", "raster-order", "mask-row-given"], variant=variant)
    assert (among_others.verdict, among_others.counterexample) == (alone.verdict, alone.counterexample)
    assert {first.verdict, last.verdict} == {alone.verdict}


def test_names_come_in_the_order_of_the_table() -> None:
    assert [result.name for result in prove(["clamping", "product-order"])] == ["product-order", "clamping"]


def test_from_assumptions_that_contradict_nothing_is_proved() -> None:
    x = z3.Int("x")
    assert _Prover(z3, 10_000)._prove(Claim(given=(x < 0, x > 0), show=(x == 7,))) == ("unknown", None)


def test_what_z3_cannot_decide_in_time_is_not_proved() -> None:
    x, y, total = z3.Ints("x y total")
    fermat = Claim(given=(x > 0, y > 0, total > 0), show=(x * x * x + y * y * y != total * total * total,))
    assert _Prover(z3, 200)._prove(fermat) == ("unknown", None)


def test_a_claim_that_fails_is_refuted_without_a_box() -> None:
    x, y = z3.Ints("x y")
    verdict, counterexample = _Prover(z3, 10_000)._prove(Claim(given=(x > 1000,), show=(x > 0, x + y != y + 2000)))
    assert (verdict, (counterexample or {})["x"]) == ("refuted", 2000)


def test_a_lemma_is_proved_before_it_is_used() -> None:
    a, x = z3.Ints("a x")
    use = Use(lemma="product-order", where={"a": a, "b": x + 1, "c": x})
    claim = Claim(given=(x > 0, a > 0), show=(a * (x + 1) >= a * x,), using=(use,))
    prover = _Prover(z3, 10_000)
    assert prover._prove(claim) == ("proved", None)
    assert prover.lemmas == {"product-order": "proved"}
    prover.lemmas["product-order"] = "unknown"
    assert prover._prove(claim) == ("unknown", None)


def test_an_instance_is_the_lemma_with_its_letters_replaced() -> None:
    c, x = z3.Ints("c x")
    instance = _Prover(z3, 10_000)._instance("product-order", {"a": c, "b": x, "c": x - 1})
    expected = z3.Implies(z3.And(c >= 0, x >= x - 1), c * x >= c * (x - 1))
    assert _Prover(z3, 10_000)._prove(Claim(given=(x == x,), show=(instance == expected,)))[0] == "proved"


def test_unknown_names_are_refused_at_once() -> None:
    message = f"expected names of theorems, got no-such. Give some of: {', '.join(NAMES)}."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        prove(["total-steps", "no-such"])


def test_an_unknown_variant_is_refused() -> None:
    message = "expected variant to be one of true, wrong, got variant='false'."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        prove(variant="false")  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_time_limit_must_be_positive(limit: float) -> None:
    message = f"expected timeout_s > 0, got timeout_s={limit}. Give the seconds a query may take."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        prove(timeout_s=limit)


def test_no_time_limit_is_infinity() -> None:
    assert [result.verdict for result in prove("one-target-per-row", timeout_s=float("inf"))] == ["proved"]


def test_without_z3_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "z3", None)
    message = (
        "expected z3-solver for the proofs, got none. Install it: pip install 'diagplan[prove]'; in a clone of the "
        "repository: pip install -e '.[prove]'."
    )
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message)}$"):
        prove()


def test_importing_the_table_and_the_runner_does_not_load_z3() -> None:
    code = "import sys, diagplan.planner.proofs, diagplan.planner.proofs.theorems; sys.exit('z3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
