"""Decode a picture by a plan of diagplan, as transformers' ``custom_generate`` asks for it."""

from typing import Any


def generate(
    model: Any,
    negative_prompt_ids: Any = None,
    negative_prompt_attention_mask: Any = None,
    streamer: Any = None,
    assistant_model: Any = None,
    **arguments: Any,
) -> Any:
    """Prepare as ``model.generate`` does, then decode by a plan.

    Args:
        model: of transformers: Emu3, GLM-Image, Chameleon, a causal language model with ``raster``, or Janus-Pro.
        negative_prompt_ids: prompts of the branch without the condition.
        negative_prompt_attention_mask: 1 where they are no padding.
        streamer: not supported: tokens of a plan do not come in order.
        assistant_model: not supported.
        arguments: those of ``model.generate``, and ``plan``, ``raster``, ``grid``, ``guidance``, ``seed``,
            ``policies``, ``chunk`` of ``diagplan.custom_generate``.
    """
    import diagplan

    if streamer is not None or assistant_model is not None:
        raise ValueError("expected no streamer and no assistant_model, got one: a plan has neither. Leave it out.")
    given = {name: value for name, value in arguments.items() if value is not None}
    if not {"max_new_tokens", "max_length", "generation_config"} & {*given}:
        given["max_new_tokens"] = 1  # a plan has as many as it has; without any generate warns
    # Of the class: a model whose own repository holds this folder has it as its generate.
    return type(model).generate(
        model,
        **given,
        custom_generate=diagplan.custom_generate,
        negative_ids=negative_prompt_ids,
        negative_mask=negative_prompt_attention_mask,
    )
