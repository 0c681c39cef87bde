"""What a decoder of transformers must be for plans to run on it; what is refused would give wrong tokens in silence."""

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch

from diagplan.adapters.contract import Widths
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["Attention", "attention_of", "layer_devices", "require_plannable", "widths_of_text"]

#: The kinds of attention that take a mask of any shape.
Attention = Literal["sdpa", "eager"]
#: Rotary angles that depend on the position alone. "dynamic" and "longrope" change with the length of the sequence.
_ROPE = ("default", "linear", "llama3", "yarn")
#: What a whole model does to logits after its head: Gemma 2, Cohere, Granite.
_HEAD_SCALES = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def attention_of(decoder: Any) -> Attention:
    """The kind of attention that a decoder computes now.

    Raises:
        SpecError: one that does not take a plan's mask.
    """
    kind: Any = getattr(decoder.config, "_attn_implementation", None) or "eager"
    if kind in get_args(Attention):
        return cast("Attention", kind)
    raise SpecError(
        f"expected a model with attention sdpa or eager, got {shown(kind)}. Others take no mask of feeds and slots: "
        "flash attention reads it as padding, flex attention wants blocks. Call model.set_attn_implementation('sdpa')."
    )


def require_plannable(decoder: Any, config: Any) -> None:
    """Raise ``SpecError`` where a plan's mask or positions would not mean what they mean.

    Args:
        decoder: the bare decoder.
        config: of its text.
    """
    attention_of(decoder)
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ()
    other = next((kind for kind in kinds if kind != "full_attention"), None)
    if other is not None or (window is not None and not kinds and getattr(config, "use_sliding_window", True)):
        what = f"layer_types with {shown(other)}" if other is not None else f"sliding_window={shown(window)}"
        raise SpecError(
            f"expected a model whose layers all see the whole sequence, got {what}. A plan's mask would take the "
            "window's place. Take a model without one."
        )
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else "default"
    if kind not in _ROPE:
        raise SpecError(
            f"expected rotary positions that do not change with the sequence's length, got rope_type={shown(kind)}. "
            "Keys of earlier passes would be turned by other angles. Take a model without it."
        )
    scaled = next((name for name in _HEAD_SCALES if getattr(config, name, None) not in (None, 1, 1.0)), None)
    if scaled is not None:
        raise SpecError(
            f"expected logits as the head gives them, got {scaled}={shown(getattr(config, scaled))}. The whole model's "
            "forward scales them afterwards, which a pass would leave out. Take a model without it."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise SpecError("expected a decoder alone, got a model with an encoder. A plan feeds one sequence.")


def layer_devices(decoder: Any) -> Sequence[torch.device]:
    """Where each layer computes.

    Raises:
        SpecError: the decoder has no list of layers, or one whose weights are not loaded.
    """
    layers = getattr(decoder, "layers", None)
    if layers is None or not len(layers):
        raise SpecError(
            f"expected a decoder with a list of layers, got {type(decoder).__name__}. Its cache cannot be laid out. "
            "Take a decoder-only model of transformers."
        )
    devices = []
    for layer in layers:
        hook = getattr(layer, "_hf_hook", None)
        where = getattr(hook, "execution_device", None)
        device = torch.device(where) if where is not None else next(layer.parameters()).device
        if device.type == "meta":
            raise SpecError("expected weights that are loaded, got a layer without data. Load the model first.")
        devices.append(device)
    return devices


def widths_of_text(config: Any) -> Widths:
    """What a layer of a text configuration holds of one feed; heads of keys and their width are left out by some."""
    heads, hidden = int(config.num_attention_heads), int(config.hidden_size)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head = int(getattr(config, "head_dim", None) or hidden // heads)
    return Widths(hidden, heads, kv_heads, head, 2 * int(config.intermediate_size))
