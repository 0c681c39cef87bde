"""A Llama's layers on a GPU in seven kernels each, for passes of few rows; see ``diagplan.adapters.llama_kernels``.

The tiles were chosen by measurement on an H200; they fit the shared memory of every GPU with bfloat16
(``tests/adapters/test_llama_kernels.py``). ``python -m bench.gpu --parts tiles`` measures others.
"""

import warnings
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.norms import RmsNorm
from diagplan.adapters.notices import ModelWarning
from diagplan.planner.shown import shown

__all__ = ["MOST_ROWS", "KernelLayers", "Llama", "Places", "Tiles", "cut", "kernel_layers", "sizes_fit"]

#: Passes of more rows than this (samples times feeds) are bound by arithmetic, where the libraries' kernels are faster.
MOST_ROWS = 512
_TILE = 16  # rows of a tile, the least of a matrix unit
_OUTPUTS = 32  # of a product that one program makes
_LEAST_PROGRAMS = 128  # so that every multiprocessor of a large GPU reads weights
_CHUNK = 128  # keys that one program of the attention reads
_INPUTS = 128  # of a product that a step reads at most
#: Products and sums are fused in every version of Triton, so that a token has the same bits; 3.10 begins not to.
_FUSED = {"enable_fp_fusion": True}


class Tiles(NamedTuple):
    """How programs cut their work; another choice has other bits, the same in every pass all the same.

    Attributes:
        keys: that a step of the attention reads, a power of two up to 128.
        attention_warps: of a program of the attention.
        qkv_inputs, qkv_warps, qkv_stages: inputs that a step of the projection of queries, keys and values reads, a
            power of two; warps of a program; loads in flight.
        inputs, warps, stages: likewise of the other products; at most so many inputs.
    """

    keys: int = 128
    attention_warps: int = 4
    qkv_inputs: int = 256
    qkv_warps: int = 2
    qkv_stages: int = 3
    inputs: int = _INPUTS
    warps: int = 4
    stages: int = 4


class Llama(Protocol):
    """What the kernels read of a model: sizes and weights by the names of ``diagplan.adapters.mc_ar.McAr``."""

    config: Any
    layers: Any
    embedding: Tensor
    norm: RmsNorm
    cos: Tensor
    sin: Tensor
    device: torch.device
    dtype: torch.dtype


class Places(NamedTuple):
    """Where the feeds of a pass stand, and what they see; as for ``diagplan.adapters.contract.Model.forward``."""

    position: Tensor
    slot: Tensor
    mask: Tensor


def kernel_layers(model: Llama) -> "KernelLayers | None":
    """The layers of a model whose device, dtype and sizes fit; ``None``: others.

    Warns (``ModelWarning``) where Triton is installed and cannot build a kernel; the model then uses torch's operators.
    """
    if model.device.type != "cuda" or model.dtype != torch.bfloat16 or not sizes_fit(model.config):
        return None
    if find_spec("triton") is None:
        return None
    layers = KernelLayers(model)
    try:
        layers.norm(model.norm.weight[None], model.norm.weight)
    except Exception as error:  # noqa: BLE001 (a compiler that is missing, a GPU that Triton does not know)
        first_line = str(error).strip().partition("\n")[0]
        warnings.warn(
            f"expected Triton to build kernels for {torch.cuda.get_device_name(model.device)}, got "
            f"{shown(first_line)}. "
            "The model runs in torch's operators, slower. Install a C compiler, or a Triton that knows this GPU.",
            ModelWarning,
            stacklevel=2,
        )
        return None
    return layers


def sizes_fit(config: Any) -> bool:
    """Whether tiles of 16 and powers of two cover a model's sizes."""
    size = config.head_size
    inputs = config.hidden_size, config.intermediate_size, config.num_attention_heads * size
    return size & (size - 1) == 0 and 32 <= size <= 256 and all(width % 64 == 0 for width in inputs)


def cut(n: int, k: int, most: int = _INPUTS) -> tuple[int, int]:
    """Parts of the sum of a product [N, K], and inputs that a program reads at once, at most ``most``."""
    parts = 1
    while -(-n // _OUTPUTS) * parts < _LEAST_PROGRAMS and k % (128 * parts) == 0 and k // (2 * parts) >= 256:
        parts *= 2
    return parts, _block(k // parts, most)


class KernelLayers:
    """A model's embedding, layers, final norm and head for passes of at most ``MOST_ROWS`` rows.

    A token has the same bits in a pass of any width, cache length and batch. One pass at a time: the counters on the
    device are shared by all passes of a model.
    """

    def __init__(self, model: Llama, tiles: Tiles = Tiles()) -> None:  # noqa: B008 (immutable)
        from diagplan.adapters import llama_kernels

        assert _CHUNK % tiles.keys == 0, "a chunk is read in whole steps"
        self.model, self.tiles = model, tiles
        self._kernels: Any = llama_kernels
        self._arrived = torch.zeros(1 << 16, dtype=torch.int32, device=model.device)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [B, n, hidden] of ids [B, n]."""
        table, block = self.model.embedding, 1024
        k = table.shape[1]
        out = table.new_empty((*ids.shape, k))
        self._kernels.embed[(ids.numel(), -(-k // block))](ids.contiguous(), table, out, K=k, BK=block, **_FUSED)
        return out

    def layers(self, x: Tensor, places: Places, cache: TensorCache) -> Tensor:
        """The stream after the last layer, [B, n, hidden], of embeddings x [B, n, hidden]."""
        batch, n, hidden = x.shape
        flat, reach = x.reshape(batch * n, hidden), self._reach(places.mask)
        for number, layer in enumerate(self.model.layers):
            h = self.norm(flat, layer.attention_norm.weight)
            mixed = self._attention(h, layer.qkv.weight, places, *cache.layer(number), n=n, reach=reach)
            flat = self._product(mixed, layer.out.weight, residual=flat)
            wide = self._gate_up(self.norm(flat, layer.mlp_norm.weight), layer.gate_up.weight)
            flat = self._product(wide, layer.down.weight, residual=flat)
        return flat.view(batch, n, hidden)

    def _reach(self, mask: Tensor) -> Tensor:
        """The cache slots up to the last one that any row of a mask [..., L] sees, int32 [1], on the device.

        A graph is captured for the longest cache of its passes: what they see of it is known to each pass alone.
        """
        length = mask.shape[-1]
        rows, out = mask.reshape(-1, length), torch.zeros(1, dtype=torch.int32, device=mask.device)
        self._kernels.reach[(-(-length // _CHUNK), -(-len(rows) // _TILE))](
            rows.view(torch.uint8), out, len(rows), length, rows.stride(0), BM=_TILE, BK=_CHUNK, **_FUSED
        )
        return out

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMS norm of rows [..., hidden]."""
        k, out = x.shape[-1], torch.empty_like(x, memory_format=torch.contiguous_format)
        rows = x.numel() // k
        eps = self.model.config.rms_norm_eps
        if rows == 0:
            return out
        self._kernels.normalise[(rows,)](x.contiguous(), weight, out, eps, K=k, BK=_block(k, 1024), **_FUSED)
        return out

    def product(self, weight: Tensor, x: Tensor) -> Tensor:
        """x [..., K] times a weight [N, K]; of no rows, of wide passes and of odd sizes by the library."""
        rows = x.numel() // x.shape[-1]
        if not 0 < rows <= MOST_ROWS or x.shape[-1] % 64:
            return F.linear(x, weight)
        return self._product(x.reshape(rows, -1), weight).view(*x.shape[:-1], -1)

    def _attention(
        self, h: Tensor, weight: Tensor, places: Places, keys: Tensor, values: Tensor, *, n: int, reach: Tensor
    ) -> Tensor:
        config, (rows, k) = self.model.config, h.shape
        position, slot, mask = places
        heads, shared, size = config.num_attention_heads, config.num_key_value_heads, config.head_size
        slots, length = keys.shape[2], mask.shape[-1]
        q, out = h.new_empty((rows, heads, size)), h.new_empty((rows, heads * size))
        outputs = _block(size // 2, 16)
        self._kernels.project_qkv[((heads + 2 * shared) * (size // 2 // outputs), -(-rows // _TILE))](
            h, weight, self.model.cos, self.model.sin, position, slot, q, keys, values,
            rows, n, _stride(position), _stride(slot), slots,
            K=k, H=heads, KV=shared, D=size, BM=_TILE, BN=outputs, BK=_block(k, self.tiles.qkv_inputs),
            num_warps=self.tiles.qkv_warps, num_stages=self.tiles.qkv_stages, **_FUSED,
        )  # fmt: skip
        groups, chunks, tiles = rows // n * shared, -(-length // _CHUNK), -(-(heads // shared * n) // _TILE)
        left = groups * chunks * tiles * _TILE
        peaks = torch.empty((left, 2), dtype=torch.float32, device=h.device)
        sums = torch.empty((left, size), dtype=torch.float32, device=h.device)
        self._kernels.attend[(groups, chunks, tiles)](
            q, keys, values, mask.view(torch.uint8), reach, out, peaks, sums, self._arrived, n, length,
            mask.stride(0) if mask.ndim == 3 else 0, mask.stride(-2), slots, size**-0.5,
            H=heads, KV=shared, D=size, BM=_TILE, CHUNK=_CHUNK, BK=self.tiles.keys, AHEAD=3,
            num_warps=self.tiles.attention_warps, num_stages=1, **_FUSED,
        )  # fmt: skip
        return out

    def _product(self, x: Tensor, weight: Tensor, residual: Tensor | None = None) -> Tensor:
        rows, (n, k) = len(x), weight.shape
        (split, inputs), out = cut(n, k, self.tiles.inputs), x.new_empty((rows, n))
        part = torch.empty((split, rows, n), dtype=torch.float32, device=x.device) if split > 1 else out
        self._kernels.linear[(-(-n // _OUTPUTS), -(-rows // _TILE), split)](
            x, weight, out if residual is None else residual, out, part, self._arrived, rows, K=k, N=n, SPLIT=split,
            RESIDUAL=residual is not None, BM=_TILE, BN=_OUTPUTS, BK=inputs,
            num_warps=self.tiles.warps, num_stages=self.tiles.stages, **_FUSED,
        )  # fmt: skip
        return out

    def _gate_up(self, h: Tensor, weight: Tensor) -> Tensor:
        (rows, k), n = h.shape, weight.shape[0] // 2
        out = h.new_empty((rows, n))
        self._kernels.gate_up[(-(-n // _OUTPUTS), -(-rows // _TILE))](
            h, weight, out, rows, K=k, N=n, BM=_TILE, BN=_OUTPUTS, BK=_block(k, self.tiles.inputs),
            num_warps=self.tiles.warps, num_stages=self.tiles.stages, **_FUSED,
        )  # fmt: skip
        return out


def _block(size: int, most: int) -> int:
    """The largest power of two up to ``most`` that divides ``size``."""
    return min(size & -size, most)


def _stride(places: Tensor) -> int:
    """From one sample's places [B, n] to the next's; places [n] or [1, n] are shared."""
    return places.stride(0) if places.ndim == 2 and len(places) > 1 else 0
