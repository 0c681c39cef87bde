"""Tests of ``diagplan.planner.proofs``."""
