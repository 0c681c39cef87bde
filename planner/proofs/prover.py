"""Proves the theorems of ``theorems.py`` with Z3, or refutes them with a counterexample.

A claim is proved when Z3 finds its negation unsatisfiable over unbounded integers: no size is left out. The only
help it gets are instances of lemmas, which are theorems of the same table and are proved first. A claim is refuted
by integers that are checked again by evaluation. Z3 is an optional library: it is loaded when a proof is asked for.
"""

import importlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.proofs.symbols import Claim, Expr, Theorem
from diagplan.planner.proofs.theorems import THEOREMS
from diagplan.planner.shown import shown

__all__ = ["ProofResult", "Variant", "Verdict", "prove"]

Variant = Literal["true", "wrong"]
Verdict = Literal["proved", "refuted", "unknown"]

#: Sizes tried first when a counterexample is sought, so that it is small enough to draw on paper.
_BOXES = (3, 6, 16)
#: Z3 counts milliseconds in 32 bits; a longer limit is no limit.
_LONGEST_S = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """What Z3 said of one theorem.

    Args:
        name: the theorem.
        words: what was claimed; of the false variant when that was asked for.
        formula: the true claim in symbols.
        verdict: ``proved``: the negation is unsatisfiable; ``refuted``: ``counterexample`` breaks the claim;
            ``unknown``: Z3 gave up or ran out of time, on the claim or on a lemma.
        counterexample: an integer for each letter, for ``refuted`` only.
        lemmas: the theorems whose instances Z3 was given, each proved in the same call.
        seconds: wall-clock time, that for lemmas proved on the way included.
    """

    name: str
    words: str
    formula: str
    verdict: Verdict
    counterexample: dict[str, int] | None
    lemmas: tuple[str, ...]
    seconds: float


def prove(
    names: Iterable[str] | None = None, *, variant: Variant = "true", timeout_s: float = 60.0
) -> Iterator[ProofResult]:
    """The verdicts on the named theorems, or on all, one by one as they are reached, in the order of the table.

    Args:
        names: theorems of ``THEOREMS``; ``None``: all of them.
        variant: ``"wrong"`` asks for the false variants, each of which should be refuted.
        timeout_s: the longest that one query to Z3 may take; a theorem takes up to ten queries.

    Raises:
        SpecError: an unknown name or variant, or a time limit that is not positive.
        MissingExtraError: z3-solver is not installed.
    """
    if variant not in get_args(Variant):
        raise SpecError(f"expected variant to be one of {', '.join(get_args(Variant))}, got variant={shown(variant)}.")
    if not timeout_s > 0:
        raise SpecError(f"expected timeout_s > 0, got timeout_s={shown(timeout_s)}. Give the seconds a query may take.")
    chosen = _chosen(names)
    prover = _Prover(_load_z3(), max(1, round(min(timeout_s, _LONGEST_S) * 1000)))
    return (prover.result(theorem, variant) for theorem in chosen)


def _chosen(names: Iterable[str] | None) -> tuple[Theorem, ...]:
    if names is None:
        return THEOREMS
    wanted = {names} if isinstance(names, str) else set(names)
    unknown = sorted(wanted - {theorem.name for theorem in THEOREMS})
    if unknown:
        known = ", ".join(theorem.name for theorem in THEOREMS)
        raise SpecError(
            f"expected names of theorems, got {', '.join(name[:60] for name in unknown[:4])}. Give some of: {known}."
        )
    return tuple(theorem for theorem in THEOREMS if theorem.name in wanted)


def _load_z3() -> Any:
    try:
        return importlib.import_module("z3")
    except ImportError:
        raise missing_packages("the proofs", ["z3"]) from None


class _Prover:
    """Z3 with a time limit, and the verdicts on the lemmas asked for so far."""

    def __init__(self, z: Any, timeout_ms: int) -> None:
        self.z = z
        self.timeout_ms = timeout_ms
        self.lemmas: dict[str, Verdict] = {}

    def result(self, theorem: Theorem, variant: Variant) -> ProofResult:
        started = time.perf_counter()
        wrong = variant == "wrong"
        claim = theorem.build(self.z, wrong)
        verdict, counterexample = self._refute(claim) if wrong else (None, None)
        if verdict is None:
            verdict, counterexample = self._prove(claim)
        return ProofResult(
            name=theorem.name,
            words=theorem.wrong if wrong else theorem.words,
            formula=theorem.formula,
            verdict=verdict,
            counterexample=counterexample,
            lemmas=tuple(dict.fromkeys(use.lemma for use in claim.using)),
            seconds=time.perf_counter() - started,
        )

    def _prove(self, claim: Claim) -> tuple[Verdict, dict[str, int] | None]:
        # From assumptions that nothing meets, everything would follow.
        if self._find(claim.given, claim)[0] != "sat":
            return "unknown", None
        if any(self._lemma(use.lemma) != "proved" for use in claim.using):
            return "unknown", None
        helped = (*claim.given, *(self._instance(use.lemma, use.where) for use in claim.using))
        for formula in claim.show:
            answer, values = self._find((*helped, self.z.Not(formula)), claim)
            if answer == "sat":
                return "refuted", values
            if answer != "unsat":
                return "unknown", None
        return "proved", None

    def _refute(self, claim: Claim) -> tuple[Verdict | None, dict[str, int] | None]:
        """A small counterexample, or ``None`` where there is none of the sizes tried."""
        broken = self.z.Not(self.z.And(*claim.show))
        for size in _BOXES:
            box = [self.z.And(letter >= -size, letter <= size) for letter in self._letters(claim)]
            answer, values = self._find((*claim.given, broken, *box), claim)
            if answer == "sat":
                assert values is not None
                return "refuted", values
        return None, None

    def _lemma(self, name: str) -> Verdict:
        if name not in self.lemmas:
            self.lemmas[name] = "unknown"  # a lemma that rested on itself would prove nothing
            self.lemmas[name] = self._prove(_theorem(name).build(self.z, False))[0]
        return self.lemmas[name]

    def _instance(self, name: str, where: Any) -> Expr:
        claim = _theorem(name).build(self.z, False)
        statement = self.z.Implies(self.z.And(*claim.given), self.z.And(*claim.show))
        return self.z.substitute(statement, *((self.z.Int(letter), term) for letter, term in where.items()))

    def _find(self, formulas: Sequence[Expr], claim: Claim) -> tuple[str, dict[str, int] | None]:
        """Z3's answer to whether all formulas can hold at once, and the values with which they do."""
        # A context of its own for each query: the answer does not depend on what was asked before.
        context = self.z.Context()
        solver = self.z.Solver(ctx=context)
        solver.set("timeout", self.timeout_ms)
        solver.set("random_seed", 0)
        solver.set("ctrl_c", False)  # else Z3 takes the interrupt for itself and answers unknown
        solver.add(*(formula.translate(context) for formula in formulas))
        answer = solver.check()
        if answer != self.z.sat:
            return str(answer), None
        model = solver.model()
        values = {
            str(letter): model.eval(self.z.Int(str(letter), context), model_completion=True).as_long()
            for letter in self._letters(claim)
        }
        fixed = [(self.z.Int(name), self.z.IntVal(value)) for name, value in values.items()]
        held = self.z.simplify(self.z.substitute(self.z.And(*formulas), *fixed))
        assert self.z.is_true(held), f"Z3 gave values that do not evaluate: {values}"
        return "sat", values

    def _letters(self, claim: Claim) -> list[Expr]:
        """The integer unknowns of a claim, each once, in the order of its formulas."""
        letters: dict[str, Expr] = {}
        seen: set[int] = set()
        pending = [*reversed(claim.show), *reversed(claim.given)]
        while pending:
            term = pending.pop()
            if term.get_id() in seen:
                continue
            seen.add(term.get_id())
            if term.num_args() == 0 and term.decl().kind() == self.z.Z3_OP_UNINTERPRETED:
                letters[str(term)] = term
            pending.extend(reversed(term.children()))
        return list(letters.values())


def _theorem(name: str) -> Theorem:
    return next(theorem for theorem in THEOREMS if theorem.name == name)
