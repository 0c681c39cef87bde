"""Tests of ``diagplan.adapters``."""
