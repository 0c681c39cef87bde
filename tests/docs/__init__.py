"""Tests of the prose: its examples run."""
