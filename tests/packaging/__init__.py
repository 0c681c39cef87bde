"""Tests of the tree itself: packages, imports, public names."""
