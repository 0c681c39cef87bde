"""Time and memory of a device: whatever runs there is waited for before a clock is read."""

import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["Device"]


class Device:
    """A device, its clock and its memory.

    Attributes:
        device: of torch.
        on_gpu: whether there are streams and graphs.
    """

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.on_gpu = self.device.type == "cuda"

    def wait(self) -> None:
        """Until everything that was launched is done."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object]) -> float:
        """Of one run, from an idle device to an idle device."""
        self.wait()
        begin = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - begin

    def median(self, run: Callable[[], object], repeats: int, *, warm: int = 1) -> float:
        """Seconds of a run, the median of several after some that are not counted."""
        for _ in range(warm):
            run()
        return statistics.median(self.seconds(run) for _ in range(repeats))

    def graphed(self, run: Callable[[], object]) -> Callable[[], object]:
        """The same as a CUDA graph; as it is without CUDA."""
        if not self.on_gpu:
            return run
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def reserved(self) -> int:
        """Bytes that torch's allocator holds."""
        return torch.cuda.memory_reserved(self.device) if self.on_gpu else 0

    def peak(self) -> int:
        """The most bytes of tensors since the start."""
        return torch.cuda.max_memory_allocated(self.device) if self.on_gpu else 0

    def empty(self) -> None:
        """Give unused memory back."""
        if self.on_gpu:
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, str]:
        """What it is."""
        about = {"torch": torch.__version__, "device": str(self.device)}
        if self.on_gpu:
            own = torch.cuda.get_device_properties(self.device)
            about |= {
                "gpu": own.name,
                "gpu_memory_gib": f"{own.total_memory / 2**30:.0f}",
                "cuda": str(torch.version.cuda),
            }
        return about
