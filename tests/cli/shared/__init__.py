"""Tests of ``diagplan.cli.shared``."""
