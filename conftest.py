"""Doctests are collected by importing modules: without torch those that need it are left out."""

from importlib.util import find_spec

_TORCH = ["diagplan/adapters/*", "diagplan/backends/*", "diagplan/examples/*", "diagplan/training/*", "bench/*"]
#: Of games, videos and pictures every other package is imported where it is used.
collect_ignore_glob = [] if find_spec("torch") else _TORCH
if not find_spec("triton"):  # comes with torch's builds for GPUs
    collect_ignore_glob.append("diagplan/adapters/llama_kernels.py")
