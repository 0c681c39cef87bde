"""All parts, in the order of their worth, each with the seconds below which it is not begun."""

from bench.gpu import machine_parts, other_parts, plan_parts
from bench.gpu.bench import Named

__all__ = ["PARTS"]

PARTS: dict[str, Named] = {
    "device": Named("The device", machine_parts.device, 5),
    "300m": Named("MC-AR 300M, batch 1", plan_parts.small, 20),
    "kernels": Named("Kernels of a pass", machine_parts.kernels, 10),
    "tests": Named("Tests that need CUDA", machine_parts.tests, 60),
    "cosmos-4b": Named("Cosmos 4B, batch 1", plan_parts.cosmos_4b, 25),
    "1200m": Named("MC-AR 1.2B, batch 1", plan_parts.large, 20),
    "speculation": Named("Exact and faster: speculation on MC-AR 300M", other_parts.speculation, 20),
    "batches": Named("Batches and guidance on MC-AR 300M", plan_parts.batches, 20),
    "cosmos-12b": Named("Cosmos 12B, batch 1", plan_parts.cosmos_12b, 30),
    "700m": Named("MC-AR 700M, batch 1", plan_parts.medium, 15),
    "transformers": Named("The shape of Janus-Pro-1B", other_parts.transformers, 30),
    "onnx": Named("ONNX Runtime", other_parts.onnx, 40),
}
