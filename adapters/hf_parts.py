"""Where the parts of a family's model lie: the bare decoder, what embeds an id, what makes logits, which ids are codes.

Facts: the models' own files in transformers 4.57 to 5.24. The whole model's ``forward`` is never called: it masks image
ids (Chameleon), takes the head of text (Janus), and counts positions of its own (GLM-Image).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from diagplan.adapters.hf_kinds import KINDS, family_of_kind
from diagplan.adapters.raster import Raster
from diagplan.planner.coordinates import Coordinates
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["Parts", "parts_of"]

# Shapes: B rows of the batch, n feeds, H width of the stream, V entries of the logits, P position slots.

#: GLM-Image's: text p lies at (p, p, p), a cell at its grid's base, and that and its row, and its column.
_AXES = ("base", "base+row", "base+col")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a pass is made of.

    Attributes:
        family: the family's name.
        decoder: embeddings [B, n, H] to the normed stream [B, n, H].
        embed: ids [B, n] to embeddings [B, n, H].
        head: the stream [B, m, H] to logits [B, m, V].
        modules: name -> module of all weights that a pass reads.
        vocab_size, input_vocab_size: V, and how many ids may be fed.
        raster: which ids are codes, the usual grid, what stands between rows and after the picture.
        coordinates: of a chain's layouts, where each slot of the last one lies; ``None``: a slot's number is all.
    """

    family: str
    decoder: Any
    embed: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    modules: Mapping[str, Any]
    vocab_size: int
    input_vocab_size: int
    raster: Raster
    coordinates: Coordinates | None = None


def parts_of(module: Any, family: str | None = None, raster: Raster | None = None) -> Parts:
    """The parts of a model of transformers.

    Args:
        module: the whole model, with its head.
        family: a name of ``diagplan.adapters.hf_kinds.KINDS``; ``None``: its configuration tells.
        raster: of a model that has no adapter of its own; of one that has, what to take instead of its own ids or grid.

    Raises:
        SpecError: a model of another kind, or of none that is known and without a raster.
    """
    kind = getattr(getattr(module, "config", None), "model_type", None)
    if not isinstance(kind, str) or not callable(getattr(module, "get_decoder", None)):
        raise SpecError(
            f"expected a model of transformers, got {shown(module)}. Load one, such as "
            "Emu3ForConditionalGeneration.from_pretrained(FOLDER)."
        )
    name = family_of_kind(kind) if family is None else family
    if name not in KINDS:
        raise SpecError(f"expected family to be one of {', '.join(KINDS)}, got family={shown(name)}.")
    if KINDS[name] not in (None, kind):
        raise SpecError(
            f"expected a model of model_type {KINDS[name]} for {name}, got {shown(kind)}. Leave the family out, or "
            f"take {family_of_kind(kind)}."
        )
    parts = _READERS.get(KINDS[name] or "", _causal)(module, name, raster)
    if parts.raster.ids[1] > parts.vocab_size:
        raise SpecError(
            f"expected ids of the picture below {parts.vocab_size}, the width of the logits, got "
            f"ids={shown(parts.raster.ids)}. Correct the range."
        )
    return parts


def _with_head(module: Any, family: str, raster: Raster) -> Parts:
    """A decoder with one embedding and a linear head over the ids."""
    decoder, head, embedding = module.get_decoder(), module.get_output_embeddings(), module.get_input_embeddings()
    if head is None or decoder is module or not hasattr(decoder, "layers"):
        raise SpecError(
            f"expected a model with a decoder and a head over its ids, got {type(module).__name__}. A plan needs "
            "logits. Take the class that ends in ForCausalLM or ForConditionalGeneration."
        )
    return Parts(
        family=family,
        decoder=decoder,
        embed=embedding,
        head=head,
        modules={"embedding": embedding, **_read_in(decoder), "head": head},
        vocab_size=_rows_of(head),
        input_vocab_size=int(embedding.num_embeddings),
        raster=raster,
    )


def _read_in(decoder: Any) -> dict[str, Any]:
    """The decoder's own modules that a pass reads: Chameleon's holds an encoder of pictures as well."""
    left_out = ("embed_tokens", "vqmodel")
    return {name: module for name, module in decoder.named_children() if name not in left_out}


def _rows_of(head: Any) -> int:
    return int(getattr(head, "out_features", None) or head.weight.shape[0])


def _causal(module: Any, family: str, raster: Raster | None) -> Parts:
    if raster is None:
        raise SpecError(
            f"expected raster for a model of model_type {shown(module.config.model_type)}, got none. Nothing tells "
            "which of its ids are a picture's. Give Raster(ids=(low, high), rows=, cols=)."
        )
    return _with_head(module, family, raster)


def _emu3(module: Any, family: str, raster: Raster | None) -> Parts:
    mapping = module.model.vocabulary_mapping
    if raster is None:
        # 90 x 90 is the usual picture of Emu3-Gen, 720 x 720 pixels. End of file, of image, of text come after it.
        names = mapping.vocab_map
        after = ("<|extra_200|>", "<|extra_201|>", "<|image end|>", "<|extra_204|>")
        end = tuple(int(names[name]) for name in after if name in names)
        codes = _run(mapping.image_tokens, "visual tokens of vocabulary_map")
        raster = Raster(ids=codes, rows=90, cols=90, between_rows=(int(mapping.eol_token_id),), end=end)
    return _with_head(module, family, raster)


def _chameleon(module: Any, family: str, raster: Raster | None) -> Parts:
    if raster is None:
        codes = _run(module.model.vocabulary_mapping.image_tokens, "image tokens of vocabulary_map")
        vq = module.config.vq_config
        side = vq.resolution // 2 ** (len(vq.channel_multiplier) - 1)
        raster = Raster(ids=codes, rows=side, cols=side)
    return _with_head(module, family, raster)


def _glm_image(module: Any, family: str, raster: Raster | None) -> Parts:
    if raster is None:
        # 32 x 32 is the picture of 1024 x 1024 pixels, after its preview.
        raster = Raster(ids=(0, int(module.config.vq_config.num_embeddings)), rows=32, cols=32)
    return replace(_with_head(module, family, raster), coordinates=Coordinates(_AXES))


def _janus(module: Any, family: str, raster: Raster | None) -> Parts:
    inner, text = module.model, module.get_input_embeddings()
    codes = int(inner.generation_embeddings.num_embeddings)
    if raster is None:
        side = math.isqrt(int(module.config.vision_config.num_image_tokens))
        raster = Raster(ids=(0, codes), rows=side, cols=side)

    def embed(ids: Tensor) -> Tensor:
        """A code c is id c, an id t of the text is codes + t."""
        picture = inner.generation_aligner(inner.generation_embeddings(ids.clamp(max=codes - 1)))
        return torch.where((ids < codes)[..., None], picture, text((ids - codes).clamp(min=0)))

    names = ("generation_embeddings", "generation_aligner", "generation_head")
    return Parts(
        family=family,
        decoder=inner.language_model,
        embed=embed,
        head=inner.generation_head,
        modules={"embedding": text, **_read_in(inner.language_model)} | {name: getattr(inner, name) for name in names},
        vocab_size=codes,
        input_vocab_size=codes + int(text.num_embeddings),
        raster=raster,
    )


def _run(ids: Iterable[int], what: str) -> tuple[int, int]:
    """Ids as a range; a plan chooses from one."""
    held = sorted(int(one) for one in ids)
    if not held or held != list(range(held[0], held[-1] + 1)):
        raise SpecError(
            f"expected {what} without gaps, got {len(held)} ids. A cell's ids are a range. Take another checkpoint."
        )
    return held[0], held[-1] + 1


_READERS: Mapping[str, Callable[[Any, str, Raster | None], Parts]] = MappingProxyType(
    {"emu3": _emu3, "chameleon": _chameleon, "glm_image": _glm_image, "janus": _janus}
)
