"""The checker: recomputes everything from the plan alone and shares no code with the compiler."""

from diagplan.planner.checker.diagnostics import Diagnostic, Verification
from diagplan.planner.checker.rules import RULES, Rule
from diagplan.planner.checker.verifier import verify_plan

__all__ = ["RULES", "Diagnostic", "Rule", "Verification", "verify_plan"]
