"""MC-AR's layers on a GPU in five kernels each, for passes of few rows; see ``diagplan.adapters.llama_kernels``."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.cache import TensorCache

if TYPE_CHECKING:
    from diagplan.adapters.mc_ar import McAr, McArConfig

__all__ = ["MOST_ROWS", "Fused", "fused_for"]

#: Passes of more rows than this (samples times feeds) are bound by arithmetic, where the libraries' kernels are faster.
MOST_ROWS = 256
_TILE = 16  # rows of a tile, the least of a matrix unit
_CHUNK, _KEYS = 128, 128  # keys that one program of the attention reads, and reads at once
_AHEAD = 3  # chunks that are fetched ahead when they are added


def fused_for(model: "McAr") -> "Fused | None":
    """The layers of a model whose device, dtype and sizes fit; ``None``: others, and where Triton is missing."""
    if model.device.type != "cuda" or model.dtype != torch.bfloat16 or find_spec("triton") is None:
        return None
    return Fused(model) if sizes_fit(model.config) else None


def sizes_fit(config: "McArConfig") -> bool:
    """Whether tiles of 16 and powers of two cover a model's sizes."""
    size, half = config.head_size, config.head_size // 2
    return (
        size & (size - 1) == 0
        and half % 16 == 0
        and all(width % 64 == 0 for width in (config.hidden_size, config.intermediate_size))
        and (config.num_attention_heads * size) % 64 == 0
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a product [N, K] is cut: outputs of a program, inputs read at once, parts of the sum."""

    outputs: int
    inputs: int
    split: int


def _block(size: int, most: int) -> int:
    """The largest power of two up to ``most`` that divides ``size``."""
    return min(size & -size, most)


class Fused:
    """Runs a model's layers, final norm and head for passes of at most ``MOST_ROWS`` rows.

    One pass at a time: counters on the device are shared by all passes of a model.
    """

    def __init__(self, model: "McAr", *, early: bool = False) -> None:
        self.model = model
        self._early = {"EARLY": early, "launch_pdl": True} if early else {"EARLY": False}
        self.arrived = torch.zeros(1 << 16, dtype=torch.int32, device=model.device)

    def layers(self, x: Tensor, position: Tensor, slot: Tensor, mask: Tensor, cache: TensorCache) -> Tensor:
        """The stream after the last layer, [B, n, hidden], of embeddings x; the rest as for ``McAr.stream``."""
        batch, n, hidden = x.shape
        flat = x.reshape(batch * n, hidden)
        for number, layer in enumerate(self.model.layers):
            mixed = self._attention(flat, layer, position, slot, mask, *cache.layer(number), n=n)
            flat = self._linear(mixed, layer.out.weight, residual=flat)  # type: ignore[attr-defined]
            wide = self._gate_up(flat, layer.mlp_norm, layer.gate_up.weight)  # type: ignore[attr-defined]
            flat = self._linear(wide, layer.down.weight, residual=flat)  # type: ignore[attr-defined]
        return flat.view(batch, n, hidden)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm of rows [..., hidden]."""
        from diagplan.adapters.llama_kernels import normalise

        flat, out = x.reshape(-1, x.shape[-1]), torch.empty_like(x)
        k = flat.shape[1]
        normalise[(len(flat),)](flat, weight, out, self._eps, K=k, BK=_block(k, 1024), **self._early)
        return out

    def product(self, weight: Tensor, x: Tensor) -> Tensor:
        """x [..., K] times a weight [N, K]; wide passes by the library."""
        rows = x.numel() // x.shape[-1]
        if rows > MOST_ROWS or x.shape[-1] % 64:
            return F.linear(x, weight)
        return self._linear(x.reshape(rows, -1), weight).view(*x.shape[:-1], -1)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [B, n, hidden] of ids [B, n]."""
        from diagplan.adapters.llama_kernels import embed

        table = self.model.embedding
        out = table.new_empty((*ids.shape, table.shape[1]))
        block = 1024
        embed[(ids.numel(), -(-table.shape[1] // block))](ids.contiguous(), table, out, K=table.shape[1], BK=block, **self._early)
        return out

    @property
    def _eps(self) -> float:
        return self.model.config.rms_norm_eps

    def _attention(
        self, x: Tensor, layer: Any, position: Tensor, slot: Tensor, mask: Tensor, keys: Tensor, values: Tensor, *, n: int
    ) -> Tensor:
        from diagplan.adapters.llama_kernels import attend, project_qkv

        config, rows = self.model.config, len(x)
        heads, shared, size = config.num_attention_heads, config.num_key_value_heads, config.head_size
        k, slots, length = x.shape[1], keys.shape[2], mask.shape[-1]
        q, out = x.new_empty((rows, heads, size)), x.new_empty((rows, heads * size))
        outputs, tiles = _block(size // 2, 16), -(-rows // _TILE)
        project_qkv[((heads + 2 * shared) * (size // 2 // outputs), tiles)](
            self.norm(x, layer.attention_norm), layer.qkv.weight, self.model.cos, self.model.sin, position, slot, q, keys, values,
            rows, n, _stride(position), _stride(slot), slots,
            K=k, H=heads, KV=shared, D=size, BM=_TILE, BN=outputs, BK=_block(k, 256), num_warps=4, num_stages=3, **self._early,
        )  # fmt: skip
        groups, chunks = rows // n * shared, -(-length // _CHUNK)
        tiles = -(-(heads // shared * n) // _TILE)
        peaks = torch.empty((groups * tiles * chunks * _TILE, 2), dtype=torch.float32, device=x.device)
        sums = torch.empty((groups * tiles * chunks * _TILE, size), dtype=torch.float32, device=x.device)
        attend[(groups, chunks, tiles)](
            q, keys, values, mask.view(torch.uint8), out, peaks, sums, self.arrived, n, length,
            mask.stride(0) if mask.ndim == 3 else 0, mask.stride(-2), slots, self.model._scale,
            H=heads, KV=shared, D=size, BM=_TILE, CHUNK=_CHUNK, BK=_KEYS, AHEAD=_AHEAD, num_warps=4, num_stages=1, **self._early,
        )  # fmt: skip
        return out

    def _linear(self, x: Tensor, weight: Tensor, residual: Tensor | None = None) -> Tensor:
        from diagplan.adapters.llama_kernels import linear

        rows, (n, k) = len(x), weight.shape
        cut, out = _cut(n, k), x.new_empty((rows, n))
        part = torch.empty((cut.split, rows, n), dtype=torch.float32, device=x.device) if cut.split > 1 else out
        linear[(-(-n // cut.outputs), -(-rows // _TILE), cut.split)](
            x, weight, out if residual is None else residual, out, part, self.arrived, rows, K=k, N=n, SPLIT=cut.split,
            RESIDUAL=residual is not None, BM=_TILE, BN=cut.outputs, BK=cut.inputs, num_warps=4, num_stages=4, **self._early,
        )  # fmt: skip
        return out

    def _gate_up(self, x: Tensor, norm: Tensor, weight: Tensor) -> Tensor:
        from diagplan.adapters.llama_kernels import gate_up

        rows, k, n = len(x), x.shape[1], weight.shape[0] // 2
        outputs, out = _block(n, 32), x.new_empty((rows, n))
        gate_up[(-(-n // outputs), -(-rows // _TILE))](
            self.norm(x, norm), weight, out, rows, K=k, N=n, BM=_TILE, BN=outputs, BK=_block(k, 256),
            num_warps=4, num_stages=3, **self._early,
        )  # fmt: skip
        return out


def _cut(n: int, k: int) -> _Shape:
    """Some 128 programs or more, so that every multiprocessor reads; parts of at least 256 inputs."""
    split = 1
    while -(-n // 32) * split < 128 and k % (128 * split) == 0 and k // (2 * split) >= 256:
        split *= 2
    return _Shape(32, _block(k // split, 128), split)


def _stride(places: Tensor) -> int:
    """From one sample's places [B, n] to the next's; places [n] are shared."""
    return places.stride(0) if places.ndim == 2 else 0
