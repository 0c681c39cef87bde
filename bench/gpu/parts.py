"""All parts, in the order of their worth, each with the seconds below which it is not begun."""

from bench.gpu import machine_parts, other_parts, plan_parts
from bench.gpu.bench import Named

__all__ = ["PARTS"]

PARTS: dict[str, Named] = {
    "device": Named("The device", machine_parts.device, 4, 30),
    "300m": Named("MC-AR 300M, batch 1", plan_parts.small, 10, 70),
    "1200m": Named("MC-AR 1.2B, batch 1", plan_parts.large, 10, 50),
    "cosmos-4b": Named("Cosmos 4B, batch 1", plan_parts.cosmos_4b, 15, 60),
    "speculation": Named("Exact and faster: speculation on MC-AR 300M", other_parts.speculation, 10, 40),
    "tests": Named("Tests that need CUDA", machine_parts.tests, 30, 100),
    "kernels": Named("Kernels of a pass", machine_parts.kernels, 8, 25),
    "tiles": Named("Our kernels, cut in other ways", machine_parts.tiles, 10, 70),
    "batches": Named("Batches and guidance on MC-AR 300M", plan_parts.batches, 8, 40),
    "cosmos-12b": Named("Cosmos 12B, batch 1", plan_parts.cosmos_12b, 20, 60),
    "compiled": Named("Layers fused by torch.compile", plan_parts.compiled, 40, 110),
    "transformers": Named("The shape of Janus-Pro-1B", other_parts.transformers, 20, 60),
    "700m": Named("MC-AR 700M, batch 1", plan_parts.medium, 8, 30),
    "onnx": Named("ONNX Runtime", other_parts.onnx, 5, 90),
}
