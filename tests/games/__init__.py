"""Tests of ``diagplan.games``."""
