"""What a pass over several GPUs should take, by calculation: ``python -m bench.parallel``. Nothing is run.

Weights and cache are read at the memory's peak, products are computed at the arithmetic's, and each sum and join costs
a latency and its bytes over the link, one after the other: a ring sends 2 (N - 1) / N of a sum, (N - 1) / N of a join.
The latency is an assumption, which ``--latency`` changes; the other figures are data sheets'. Launching kernels costs
nothing here, and costs something in fact, the same for any number of GPUs.

    python -m bench.parallel [--models cosmos-12b,cosmos-13b-v2w] [--roofline H100] [--link 450] [--latency 15]
"""

import argparse
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from diagplan.adapters.cosmos_config import CONFIGS, CosmosConfig
from diagplan.adapters.parallel_cuts import cut_shapes, pass_traffic
from diagplan.adapters.parallel_parts import cosmos_part
from diagplan.planner.roofline import Device, device_named

__all__ = ["Estimate", "estimate", "main"]

_ITEM = 2  # bfloat16
#: Text tokens of a Video2World model's release.
_TEXT = 512


class Estimate(NamedTuple):
    """Of one pass.

    Attributes:
        gigabytes: of weights on a rank.
        compute: seconds of reading and computing, on a rank.
        collectives: seconds of sums and joins.
    """

    gigabytes: float
    compute: float
    collectives: float


def estimate(
    config: CosmosConfig, world: int, feeds: int, slots: int, device: Device, *, link: float, latency: float
) -> Estimate:
    """Seconds of one pass of a Cosmos in bfloat16, one sample.

    Args:
        config: of the model.
        world: ranks; 1: no collectives.
        feeds: of the pass, each with a target.
        slots: of the cache that it attends over.
        device: of each rank.
        link: bytes a second that a rank sends.
        latency: seconds of a sum or join of nothing.
    """
    ranks: Any = None if world == 1 else SimpleNamespace(rank=0, world=world)
    part = cosmos_part(config, ranks)
    shapes = cut_shapes(config.shapes(), part.cuts)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    weights = sum(sizes.values()) * _ITEM
    read = weights - sizes["tok_embeddings.weight"] * _ITEM  # of the embedding a row for each feed
    slot = sum(heads * width for heads, width in part.cache_shapes(config.cache_shapes)) * _ITEM
    text = 0 if config.context_dim is None else _TEXT
    pairs = 4 * config.n_layers * part.heads * config.head_size
    flops = feeds * (read / _ITEM * 2 + pairs * (slots + text))
    compute = max((read + slot * (slots + text)) / device.bytes_per_second, flops / device.flops)
    if world == 1:
        return Estimate(weights / 1e9, compute, 0.0)
    told = pass_traffic(
        layers=config.n_layers, hidden=config.dim, logits=config.vocab_size, feeds=feeds, targets=feeds,
        itemsize=_ITEM, reads_text=config.context_dim is not None,
    )  # fmt: skip
    share = (world - 1) / world
    sent = share * (2 * told.summed_bytes + told.joined_bytes)
    return Estimate(weights / 1e9, compute, (told.sums + told.joins) * latency + sent / link)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="cosmos-12b,cosmos-13b-v2w")
    parser.add_argument("--roofline", default="H100", help="a device of diagplan tune --roofline")
    parser.add_argument(
        "--link", type=float, default=450, help="GB/s that a GPU sends: NVLink 4 of an H100, data sheet"
    )
    parser.add_argument("--latency", type=float, default=15, help="microseconds of a collective: an assumption")
    asked = parser.parse_args(arguments)
    device = device_named(asked.roofline)
    print(f"{device.name}, {asked.link:g} GB/s, {asked.latency:g} us a collective, bfloat16; calculated, not measured")
    print("| model | GPUs | feeds | weights a GPU, GB | reading and computing, ms | collectives, ms | a pass, ms |")
    print("|---|---|---|---|---|---|---|")
    for name in asked.models.split(","):
        config = CONFIGS[name]
        for feeds in (1, 40):
            for world in (1, 2, 4, 8):
                one = estimate(
                    config, world, feeds, config.positions // 2, device, link=asked.link * 1e9,
                    latency=asked.latency * 1e-6,
                )  # fmt: skip
                figures = (1e3 * one.compute, 1e3 * one.collectives, 1e3 * (one.compute + one.collectives))
                shown = " | ".join(f"{figure:.2f}" for figure in figures)
                print(f"| {name} | {world} | {feeds} | {one.gigabytes:.1f} | {shown} |")


if __name__ == "__main__":
    main()
