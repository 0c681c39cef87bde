"""How much memory is free, as far as the system says."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath

__all__ = ["free_memory"]

#: Limits above this mean that there is none.
_UNLIMITED = 1 << 60


def free_memory(device: object = "cpu", *, root: Path = Path("/")) -> int | None:
    """Bytes that a process may still take on a device; ``None`` where nobody says.

    On the CPU the least of what the system has available, what the control groups of this process leave (versions 1
    and 2; cached file pages count as free), and what its own limit of address space leaves. Swap does not count.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or torch's own.
        root: of the file system, where /proc and /sys are.
    """
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        return _on_cuda(str(device))
    if kind != "cpu":
        return None
    return min((max(0, size) for size in _on_cpu(root)), default=None)


def _on_cuda(device: str) -> int | None:
    try:
        cuda = import_module("torch").cuda
        # torch keeps what it has freed, and gives it to new tensors.
        return int(cuda.mem_get_info(device)[0] + cuda.memory_reserved(device) - cuda.memory_allocated(device))
    except Exception:  # noqa: BLE001 - no torch, no CUDA, no such device: loading says which
        return None


def _on_cpu(root: Path) -> Iterator[int]:
    available = _field(root / "proc/meminfo", "MemAvailable:")
    if available is not None:
        yield available * 1024
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if number == "0" and not controllers:
            yield from _in_groups(root / "sys/fs/cgroup", place, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _in_groups(root / "sys/fs/cgroup/memory", place, *names)
    yield from _address_space(root)


def _in_groups(mount: Path, place: str, limit: str, used: str, cached: str) -> Iterator[int]:
    """What each group from a process's own up to the top leaves; those that cannot be seen from here are left out."""
    parts = [part for part in PurePosixPath(place).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        group = mount.joinpath(*parts[:depth])
        most, now = _number(_text(group / limit)), _number(_text(group / used))
        if most is not None and now is not None and most < _UNLIMITED:
            yield most - now + (_field(group / "memory.stat", cached) or 0)


def _address_space(root: Path) -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _field(root / "proc/self/status", "VmSize:")
    if limit != resource.RLIM_INFINITY and used is not None:
        yield limit - used * 1024


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _field(path: Path, name: str) -> int | None:
    """The number behind a name at the beginning of a line."""
    rows = (line.split() for line in _text(path).splitlines())
    return next((_number(row[1]) for row in rows if len(row) > 1 and row[0] == name), None)


def _number(text: str) -> int | None:
    """A whole number; ``None`` for words such as max."""
    word = text.strip()
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 20 else None
