"""Image-token models of Hugging Face transformers, unpatched, behind the forward contract.

A pass goes through the bare decoder, then the family's head: never the whole model's ``forward``, which keeps positions
and masks of its own. Slots are set on the layers of the cache; the mask has four axes, which transformers takes as they
are: booleans for sdpa, zero and the least number of the dtype for eager attention, which would add booleans as 0 and 1.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import AllowedIds, Grid
from diagplan.adapters.fingerprint import checksum
from diagplan.adapters.hf_cache import SlotCache, cache_argument
from diagplan.adapters.hf_checks import attention_of, layer_devices, require_plannable, widths_of_text
from diagplan.adapters.hf_fast import Core, core_of
from diagplan.adapters.hf_head import picture_head
from diagplan.adapters.hf_parts import parts_of
from diagplan.adapters.lead import embedded
from diagplan.adapters.raster import Raster
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout

__all__ = ["TransformersModel"]

#: Keys of a configuration that say nothing of a pass.
_NO_PART = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")

#: What ``diagplan.adapters.hf_fast`` takes, which has a fingerprint of its own.
_TAKEN = ("layers.", "norm.", "head.", "generation_head.vision_head.weight")

# Shapes: B rows of the batch, n feeds, L slots that a pass sees, H width of the stream, V entries of the logits.


class TransformersModel:
    """A model of transformers; see ``diagplan.adapters.contract.Model`` for what its members mean.

    It is put into evaluation mode, and else left as it is: quantised, split over devices, shared with others. With
    ``fast`` its layers are copied into ``diagplan.adapters.hf_fast`` where they fit; with ``consume`` they are moved.

    Attributes:
        module: the model of transformers.
        raster: which ids are codes, the usual grid, what stands between rows and after the picture.
        fast: whether passes go through diagplan's own layers.
    """

    ragged = True
    grid: Grid | None = None

    def __init__(
        self,
        module: Any,
        *,
        family: str | None = None,
        raster: Raster | None = None,
        fast: bool = False,
        consume: bool = False,
    ) -> None:
        """Take a model as it is; family and raster as for ``diagplan.adapters.hf_parts.parts_of``.

        Raises:
            SpecError: a model of another kind, or one on which a plan would not mean what it says.
        """
        self._parts = parts = parts_of(module, family, raster)
        config = module.config.get_text_config(decoder=True)
        require_plannable(parts.decoder, config)
        self.module, self.raster, self.family = module.eval(), parts.raster, parts.family
        self._cache_argument = cache_argument(parts.decoder.forward)
        self._devices = layer_devices(parts.decoder)
        weight = module.get_input_embeddings().weight
        self.device, self.dtype = weight.device, weight.dtype
        self.positions = int(config.max_position_embeddings)
        self.vocab_size, self.input_vocab_size = parts.vocab_size, parts.input_vocab_size
        self.vocabulary: tuple[AllowedIds, ...] = (AllowedIds(low=parts.raster.ids[0], high=parts.raster.ids[1]),)
        self.widths = widths = widths_of_text(config)
        self.cache_shapes: tuple[tuple[int, int], ...] = ((widths.kv_heads, widths.head),) * (2 * len(self._devices))
        self.lead_width = widths.hidden
        self._hashed: tuple[list[tuple[int, int]], str] | None = None
        if parts.coordinates is not None:
            self.coordinates: Callable[..., NDArray[np.int64]] = parts.coordinates
        self._core: Core | None = None
        self._bytes = self._held_bytes()
        self._core = core_of(parts, config, consume=consume) if fast else None
        self.fast = self._core is not None
        self._head = picture_head(parts.head, parts.raster.ids, parts.vocab_size)

    def layout(self, lead: int, *, rows: int | None = None, cols: int | None = None) -> Layout:
        """The layout of one picture after a prompt of ``lead`` ids; the model's usual grid where none is given."""
        return self.raster.layout(lead, rows=rows, cols=cols)

    def new_cache(self, batch: int, slots: int) -> SlotCache:
        """A cache of zeros, each layer's where the layer is; keys are kept rotated."""
        (kv_heads, head), dtype = self.cache_shapes[0], self.dtype
        return SlotCache(
            torch.zeros((batch, kv_heads, slots, head), dtype=dtype, device=device)
            for device in self._devices
            for _ in ("keys", "values")
        )

    def weight_bytes(self) -> int:
        """Bytes of the weights that a pass reads, as they are held; not of encoders of pictures or their decoder."""
        return self._held_bytes() if self._core is None else self._bytes - self._core.left_out

    def _held_bytes(self) -> int:
        return sum({part.data_ptr(): part.nbytes for _, part in self._weights()}.values())

    def fingerprint(self) -> str:
        """A hash of the configuration and of all weights that a pass reads."""
        core = None if self._core is None else self._core.fingerprint()
        # Whoever holds the module may change its weights between two replays; torch counts that.
        state = [(part.data_ptr(), 0 if part.is_inference() else part._version) for _, part in self._weights()]
        if self._hashed is None or self._hashed[0] != state:
            sizes = self._parts.decoder.config.to_dict()
            about = {name: value for name, value in sizes.items() if _of_a_pass(name, value)}
            lines = [self.family, str(self.raster), json.dumps(about, sort_keys=True, default=str)]
            lines += [] if core is None else [core]
            lines += [f"{name} {part.dtype} {list(part.shape)} {checksum(part)}" for name, part in self._weights()]
            self._hashed = state, hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
        return self._hashed[1]

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        taken = () if self._core is None else _TAKEN
        for place, module in self._parts.modules.items():
            for name, value in module.state_dict(keep_vars=False).items():
                if isinstance(value, Tensor) and not f"{place}.{name}".startswith(taken):
                    yield from _plain(f"{place}.{name}", value)

    def forward(
        self,
        ids: Tensor,
        position: Tensor,
        slot: Tensor,
        mask: Tensor,
        cache: TensorCache,
        rows: Tensor | None = None,
        lead: Tensor | None = None,
    ) -> Tensor:
        """One pass, see ``diagplan.adapters.contract.Model.forward``.

        Raises:
            SpecError: the model was put into training mode, or given another attention.
        """
        if self._parts.decoder.training:
            raise SpecError(
                "expected a model in evaluation mode, got one in training mode. Dropout would change its tokens. Call "
                "model.eval()."
            )
        with torch.no_grad():
            if self._core is not None:
                stream = self._core.layers.stream(
                    embedded(ids, lead, self._parts.embed), position, slot, mask, cache, rows
                )
                return self._core.head(stream)
            held = SlotCache.of(cache)
            held.write_at(slot, mask.shape[-1])
            stream = self._parts.decoder(
                inputs_embeds=embedded(ids, lead, self._parts.embed),
                position_ids=self._position_ids(position, ids.shape[0]),
                attention_mask=self._attention_mask(mask),
                use_cache=True,
                **{self._cache_argument: held.held},
            )[0]
            if rows is not None:
                stream = stream.index_select(1, rows.to(stream.device))
            logits = self._head(stream)
            return logits.to(self.device)

    def _position_ids(self, position: Tensor, batch: int) -> Tensor:
        """As the decoder takes them: [B, n], with axes [axes, B, n]."""
        axes = self._parts.coordinates is not None
        wide = position if position.dim() == 2 + axes else position.expand(batch, *position.shape)
        return wide.movedim(-1, 0) if axes else wide

    def _attention_mask(self, mask: Tensor) -> Tensor:
        """As attention takes it, [1 or B, 1, n, L]."""
        wide = mask[:, None] if mask.dim() == 3 else mask[None, None]
        if attention_of(self._parts.decoder) == "sdpa":
            return wide
        # The least number, not minus infinity: a row that sees nothing would be NaN, and spoil the others through V.
        least = torch.finfo(self.dtype).min
        return torch.zeros(wide.shape, dtype=self.dtype, device=wide.device).masked_fill_(~wide, least)


def _of_a_pass(name: str, value: object) -> bool:
    """Whether an entry of a decoder's configuration may change a pass; mappings are those of other parts."""
    return name not in _NO_PART and name[0] != "_" and (not isinstance(value, dict) or name.startswith("rope"))


def _plain(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor with memory of its own; of a quantised one, which wraps several, each of those."""
    flatten = getattr(value, "__tensor_flatten__", None)
    if flatten is None:
        yield name, value.detach()
        return
    for inner in flatten()[0]:
        yield from _plain(f"{name}.{inner}", getattr(value, inner))
