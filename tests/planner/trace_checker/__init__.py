"""Tests of ``diagplan.planner.checker``."""
