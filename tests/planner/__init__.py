"""Tests of ``diagplan.planner``."""
