"""A bound on what ONNX Runtime takes on the CPU: a few bytes of a graph may ask for terabytes."""

from functools import cache
from importlib import import_module
from typing import Any

from diagplan.backends.room import free_memory

__all__ = ["bound_memory"]


def bound_memory(options: Any) -> None:
    """Let a session allocate from an arena that all sessions of the process share, and that ends.

    It holds at most what was free when the first session was made; what goes beyond is an error of the pass, which
    ``onnx_runtime.run`` makes a ``MemoryError`` of, and not the end of the process or of others on the machine.

    Args:
        options: the ``onnxruntime.SessionOptions`` of a session on the CPU.
    """
    if _has_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")


@cache  # a process has one such arena, of one size
def _has_arena() -> bool:
    onnxruntime = import_module("onnxruntime")
    most = free_memory()
    if most is None:
        return False
    kind, where = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    cpu = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, where)
    arena = onnxruntime.OrtArenaCfg({"max_mem": most})
    try:
        onnxruntime.create_and_register_allocator(cpu, arena)
    except Exception:  # noqa: BLE001 - of no class of their own: another library has registered an arena of its bounds
        return False
    return True
