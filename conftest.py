"""Doctests are collected by importing modules: without torch those that need it are left out."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["diagplan/adapters/*", "diagplan/backends/*", "bench/*"]
