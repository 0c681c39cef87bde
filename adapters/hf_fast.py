"""The text core of Janus-Pro, Emu3 and plain Llamas in MC-AR's layers, which are faster than the library's.

Joined products, weights in the machine's own order, the mask turned into a bias once a pass, grouped heads folded
instead of copied. The mathematics is that of ``diagplan.adapters.mc_ar``, and the rotation the decoder's own: its table
is asked for once, for every position.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear as TorchLinear

from diagplan.adapters.hf_head import among_all
from diagplan.adapters.hf_parts import Parts
from diagplan.adapters.linear import linear_for
from diagplan.adapters.mc_ar import McAr, McArConfig

__all__ = ["Core", "core_of", "why_not_fast"]

_DECODERS = ("LlamaModel", "Emu3TextModel")
_PRODUCTS = ("q", "k", "v", "o"), ("gate", "up", "down")
#: Of a large matrix in oneDNN's order: a pass of two rows, as guidance has, took 1.5 times as long as one of four.
_ROWS = 4


class Core:
    """A decoder's layers, and the last product of its head.

    Attributes:
        left_out: bytes of the head's rows that no cell's id needs.

    Args:
        parts: of a model that fits, see ``why_not_fast``.
        config: of its text.
        consume: let go of each matrix as it is taken: the model of transformers cannot decode any more.
    """

    def __init__(self, parts: Parts, config: Any, *, consume: bool) -> None:
        decoder, last = parts.decoder, _last_product(parts)
        assert last is not None
        sizes = McArConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=len(decoder.layers),
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
            vocab_size=parts.input_vocab_size,
            max_position_embeddings=int(config.max_position_embeddings),
            head_dim=getattr(config, "head_dim", None),
            rms_norm_eps=config.rms_norm_eps,
        )
        names = {f"model.{name}": value for name, value in decoder.named_parameters()}
        kept = parts.raster.ids if last is parts.head else (0, parts.vocab_size)
        whole = last.weight.nbytes
        taken = _Taken(names | {"lm_head.weight": last.weight}, head=kept, consume=consume)
        self.layers = McAr(sizes, taken, least_rows=_ROWS)
        self.layers.cos, self.layers.sin = _rotation(decoder, sizes.max_position_embeddings)
        self.head = _head(parts, last, self.layers.head)
        self.left_out = 0 if taken.tied else whole - (kept[1] - kept[0]) * whole // parts.vocab_size

    def fingerprint(self) -> str:
        """A hash of all matrices that were taken."""
        return self.layers.fingerprint()


class _Taken(Mapping[str, Tensor]):
    """Parameters by name, of the head's the rows of some ids; a matrix of a layer is let go when it is taken.

    Attributes:
        tied: whether the head is the embedding, which stays.
    """

    def __init__(self, parameters: Mapping[str, Any], *, head: tuple[int, int], consume: bool) -> None:
        self._parameters, self._head, self._consume = parameters, head, consume
        self.tied = parameters["lm_head.weight"] is parameters["model.embed_tokens.weight"]

    def __getitem__(self, name: str) -> Tensor:
        parameter = self._parameters[name]
        tensor: Tensor = parameter.data
        if name == "lm_head.weight" and self._head != (0, len(tensor)):
            rows = tensor[slice(*self._head)].clone()  # a view would keep all of them
            if self._consume and not self.tied:
                parameter.data = tensor.new_empty(0)
            return rows
        stays = parameter is self._parameters["model.embed_tokens.weight"]
        if self._consume and tensor.dim() > 1 and not stays:
            parameter.data = tensor.new_empty(0)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def core_of(parts: Parts, config: Any, *, consume: bool) -> Core | None:
    """The core of a model that fits; ``None``: it does not."""
    return None if why_not_fast(parts, config) is not None else Core(parts, config, consume=consume)


def why_not_fast(parts: Parts, config: Any) -> str | None:
    """Why a model is no plain Llama, in words; ``None``: it is one."""
    decoder, last = parts.decoder, _last_product(parts)
    if type(decoder).__name__ not in _DECODERS:
        return f"its decoder is a {type(decoder).__name__}"
    if config.hidden_act not in ("silu", "swish"):
        return f"its hidden_act is {config.hidden_act}"
    products = [
        getattr(part, f"{name}_proj", None)
        for layer in decoder.layers
        for part, names in zip((layer.self_attn, layer.mlp), _PRODUCTS, strict=True)
        for name in names
    ]
    if last is None or any(type(product) is not TorchLinear or product.bias is not None for product in products):
        return "its products have biases, or are quantised"
    held = {(value.device, value.dtype) for module in parts.modules.values() for value in module.parameters()}
    if len(held) != 1 or next(iter(held))[0].type == "meta":
        return "its weights are of several dtypes or on several devices"
    return None


def _last_product(parts: Parts) -> Any:
    """The linear layer that ends the head; ``None``: it has another form."""
    last = getattr(parts.head, "vision_head", parts.head)
    bias: Any = getattr(last, "bias", None)
    plain = type(last) is TorchLinear and (bias is None or last is not parts.head)
    return last if plain else None


def _head(parts: Parts, last: Any, product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if last is parts.head:
        ids, width = parts.raster.ids, parts.vocab_size
        return product if ids == (0, width) else lambda stream: among_all(product(stream), ids, width)
    janus: Any = parts.head
    first = linear_for(janus.proj_out.weight.data, least_rows=_ROWS)

    def head(stream: Tensor) -> Tensor:
        logits = product(janus.activation_fn(first(stream) + janus.proj_out.bias))
        return logits if last.bias is None else logits + last.bias

    return head


def _rotation(decoder: Any, positions: int) -> tuple[Tensor, Tensor]:
    """cos and sin of every position, [P, D], as the decoder computes them."""
    weight = decoder.embed_tokens.weight
    with torch.no_grad():
        cos, sin = decoder.rotary_emb(weight[:1], position_ids=torch.arange(positions, device=weight.device)[None])
    return cos[0], sin[0]
