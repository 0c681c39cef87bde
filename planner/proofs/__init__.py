"""Theorems about all plans, proved by Z3 over unbounded integers, or refuted with a counterexample."""

from diagplan.planner.proofs.prover import ProofResult, prove
from diagplan.planner.proofs.theorems import THEOREMS

__all__ = ["THEOREMS", "ProofResult", "prove"]
