"""Plans inside transformers' own ``generate``: what ``custom_generate`` takes as a function.

``model.generate(**inputs, custom_generate=diagplan.custom_generate, plan=Diagonal(k=2))``: generate prepares the
inputs, this decodes the picture by a plan, and what comes back is what generate would give. Facts: transformers 5.24,
generation/utils.py. Arguments of our own must stand in the signature, and none may have the name of a model's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.hf_generation import generation_defaults
from diagplan.adapters.samplers import Greedy, Sampler
from diagplan.backends import replay as executor
from diagplan.backends.chained import replay_chain
from diagplan.backends.errors import MismatchError
from diagplan.images.prompts import Branch, Prompted
from diagplan.models.wrapping import wrap_again
from diagplan.planner.arguments import named_briefly
from diagplan.planner.chain import Chain
from diagplan.planner.chain_compiler import chain_of
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR

if TYPE_CHECKING:
    from diagplan.adapters.hf_pictures import PicturePrompt
    from diagplan.adapters.raster import Raster
    from diagplan.adapters.transformers import TransformersModel

__all__ = ["custom_generate"]

Ids = NDArray[np.int64]
#: What generate's own processors do is done here from generation_config, or by the plan; of others nothing is known.
_FOLLOWED = (
    "TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "MinPLogitsWarper",
    "UnbatchedClassifierFreeGuidanceLogitsProcessor", "PrefixConstrainedLogitsProcessor",
    "SuppressTokensLogitsProcessor", "InfNanRemoveLogitsProcessor",
)  # fmt: skip
_JANUS_SCALE = 5.0

# Shapes: B pictures, P leading ids, h rows and w columns of tokens.


def custom_generate(
    model: Any,
    input_ids: Any,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    generation_config: Any = None,
    plan: Plan | Chain | Schedule | None = None,
    raster: "Raster | None" = None,
    grid: tuple[int, int] | None = None,
    image_sizes: Any = None,
    guidance: float | None = None,
    negative_ids: Any = None,
    negative_mask: Any = None,
    seed: int | None = None,
    policies: Policies | None = None,
    chunk: int = 512,
    **model_kwargs: Any,
) -> Any:
    """Decode a picture by a plan, called by ``model.generate(**inputs, custom_generate=custom_generate, plan=...)``.

    For Emu3, GLM-Image, Chameleon, any causal language model with a ``raster``, and Janus-Pro in ``generation_mode``
    text. Pictures in a prompt (``pixel_values``) are read by the model's own encoder, of GLM-Image and Chameleon.
    Sampling is that of ``generation_config``; how many ids there are is the plan's, whatever ``max_length`` says.

    Args:
        model: of transformers, with its weights as they are.
        input_ids: prompts, padded on the left, int64 [B, P], on the model's device.
        logits_processor: what generate has made of its arguments; none may be one that a plan does not follow.
        stopping_criteria: not asked: a picture has an end of its own.
        generation_config: with ``do_sample``, temperature and so on, and the scale of guidance.
        plan: a plan whose lead is P, of GLM-Image a chain of two; or a schedule; ``None``: next-token prediction.
        raster: of a model of another family, which of its ids are a picture's.
        grid: rows and columns; ``None``: as the inputs (``image_sizes``, or ``image_grid_thw`` of GLM-Image), the plan,
            or the family says.
        image_sizes: rows and columns of each prompt's picture, [B, 2], as Emu3's processor gives them.
        guidance: the scale; ``None``: that of ``generation_config``; for Janus-Pro, which hides it there, 5.
        negative_ids: prompts of the branch without the condition, int64 [B, Q] or [1, Q]; generate keeps its own
            ``negative_prompt_ids`` to itself. ``None``: the last id of each prompt, as generate does.
        negative_mask: 1 where they are no padding, int64 [B, Q] or [1, Q].
        seed: of the noise; ``None``: drawn from torch's generator, so that ``torch.manual_seed`` holds.
        policies: of proxies and their cache slots, where ``plan`` is a schedule.
        chunk: feeds of the widest pass.
        model_kwargs: generate's own, of which the attention mask and the grids are read.

    Returns:
        ids int64 [B, n]: the prompt, the picture with what stands between its rows and what follows it, of GLM-Image
        the preview before; of Janus-Pro the codes alone, [B, h w], as its own image mode gives. With
        ``return_dict_in_generate`` an object with these as ``sequences``.

    Raises:
        SpecError: an argument of another kind, a processor or a cache that a plan does not follow, or pictures that do
            not fit the ids.
        MismatchError: a plan for another prompt's length or another grid.

    >>> model.generate(**inputs, custom_generate=custom_generate, plan=Diagonal(k=2))  # doctest: +SKIP
    """
    del stopping_criteria
    wrapped = wrap_again(model, raster)
    _require_followed(logits_processor)
    mask = model_kwargs.get("attention_mask")
    ids = input_ids.cpu().numpy()
    pad = _left_pads(mask, ids.shape)
    read = _read(wrapped, input_ids, image_sizes, model_kwargs)
    # Of a prompt with pictures Emu3's image_sizes are theirs, in pixels.
    sizes = grid or (_one_grid(image_sizes) if read is None else None)
    scale = _scale(wrapped.family, guidance, generation_config)
    if scale is None and negative_ids is not None:
        raise SpecError(
            "expected a scale of guidance beside a negative prompt, got none. Without one it changes nothing. Give "
            "guidance_scale=3.0, or leave the negative prompt out."
        )
    branches = [Branch(ids=ids if read is None else read.ids, pad=pad)]
    if scale is not None:
        branches.append(_other_branch(wrapped, branches[0], generation_config, negative_ids, negative_mask))
    branches = _of_one_length(branches, plan)
    if read is not None and read.model is not wrapped and branches[0].ids.shape[1] != ids.shape[1]:
        raise MismatchError(
            f"expected a plan with a lead of {ids.shape[1]}, for positions of the prompt's pictures are counted in it, "
            f"got lead={branches[0].ids.shape[1]}. Compile one for it, or give a schedule: plan=Diagonal(k=2)."
        )
    if wrapped.family == "janus-pro":
        codes = wrapped.vocab_size  # the first id of a text
        branches = [Branch(ids=one.ids + codes, pad=one.pad) for one in branches]
    prompted = Prompted(
        layouts=_layouts(wrapped, branches[0].ids.shape[1], sizes, plan, model_kwargs, pictures=read is not None),
        branches=tuple(branches), between=wrapped.raster.between_rows, width=0, height=0, texts=("",) * len(ids),
    )  # fmt: skip
    chain = _chain(prompted.layouts, plan, policies)
    led = wrapped if read is None else read.model
    grids = _decoded(led, prompted, chain, scale, _sampler(generation_config), seed, chunk)
    return _as_generated(wrapped, ids, grids, input_ids, generation_config)


def _require_followed(processors: Any) -> None:
    unknown = [type(one).__name__ for one in processors or () if type(one).__name__ not in _FOLLOWED]
    if unknown:
        raise SpecError(
            f"expected processors of logits that a plan follows, got {unknown[0]}. A plan decodes several tokens in "
            "one pass. Leave out what adds it, or decode without a plan."
        )


def _read(model: "TransformersModel", ids: Any, sizes: Any, model_kwargs: Mapping[str, Any]) -> "PicturePrompt | None":
    """The prompt's pictures by the model's own encoder; ``None``: there are none."""
    from diagplan.adapters.hf_pictures import has_pictures, read_pictures

    if not has_pictures(model_kwargs):
        return None
    if model.family == "janus-pro":
        raise SpecError(
            "expected a prompt of text, got pixel_values. Janus-Pro's release reads pictures to answer in text, and "
            "draws of text alone. prompt_with_pictures and replay go further, at your own risk. Leave them out."
        )
    return read_pictures(model, {**model_kwargs, "input_ids": ids, "image_sizes": sizes})


def _left_pads(mask: Any, shape: tuple[int, ...]) -> Ids:
    """The padding of each prompt, int64 [B], of a mask [B, P]; ``None`` where nothing is padded."""
    if mask is None:
        return np.zeros(shape[0], dtype=np.int64)
    seen = mask.cpu().numpy().astype(bool)
    pad: Ids = (shape[1] - seen.sum(axis=1)).astype(np.int64)
    if seen.shape != shape or not np.array_equal(seen, np.arange(shape[1]) >= pad[:, None]):
        raise SpecError(
            "expected prompts padded on the left, got an attention_mask with zeros elsewhere. Set the tokenizer's "
            "padding_side to 'left'."
        )
    return pad


def _one_grid(sizes: Any) -> tuple[int, int] | None:
    """Rows and columns that a processor wrote beside the ids; those of all prompts must be one."""
    if sizes is None:
        return None
    pairs = [(int(rows), int(cols)) for rows, cols in sizes]
    if len(set(pairs)) != 1:
        raise SpecError(
            f"expected one grid for all {len(pairs)} prompts, got {len(set(pairs))}. Generate each size by itself."
        )
    return pairs[0]


def _scale(family: str, guidance: float | None, config: Any) -> float | None:
    scale = guidance if guidance is not None else getattr(config, "guidance_scale", None)
    if scale is None and family == "janus-pro":
        scale = _JANUS_SCALE
    return None if scale is None or scale == 1 else float(scale)


def _other_branch(model: "TransformersModel", first: Branch, config: Any, ids: Any, mask: Any) -> Branch:
    """The branch without the condition."""
    count = len(first.ids)
    if model.family == "janus-pro":
        if ids is not None:
            raise SpecError(
                "expected no negative_ids for Janus-Pro, whose branch is the prompt's marks alone, got some."
            )
        own = getattr(config, "generation_kwargs", None) or {}
        begin = own.get("boi_token_id", int(first.ids[0, -1]))
        kept = (first.ids == _id(config, "bos_token_id")) | (first.ids == begin)
        return Branch(ids=np.where(kept, first.ids, _id(config, "pad_token_id")), pad=first.pad)
    if ids is None:
        return Branch(ids=first.ids[:, -1:], pad=np.zeros(count, dtype=np.int64))
    others = ids.cpu().numpy()
    pad = _left_pads(mask, others.shape)
    if len(others) not in (1, count):
        raise SpecError(f"expected negative_ids for all prompts or for each of {count}, got {len(others)} of them.")
    return Branch(ids=np.repeat(others, count // len(others), axis=0), pad=np.repeat(pad, count // len(others)))


def _id(config: Any, name: str) -> int:
    value = getattr(config, name, None)
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, int):
        raise SpecError(f"expected {name} in the model's generation_config, got {named_briefly(value)}. Set it.")
    return value


def _of_one_length(branches: Sequence[Branch], plan: Any) -> list[Branch]:
    """Branches padded on the left to the longest, or to the lead of a plan that is there."""
    longest = max(branch.ids.shape[1] for branch in branches)
    if isinstance(plan, Plan | Chain):
        first = plan if isinstance(plan, Plan) else plan.plans[0]
        if first.layout.lead < longest:
            raise MismatchError(
                f"expected a plan with a lead of at least {longest}, the length of the prompt, got "
                f"lead={first.layout.lead}. Compile one for it, or give a schedule: plan=Diagonal(k=2)."
            )
        longest = first.layout.lead
    more = [longest - branch.ids.shape[1] for branch in branches]
    return [
        Branch(ids=np.pad(branch.ids, ((0, 0), (extra, 0))), pad=branch.pad + extra)
        for branch, extra in zip(branches, more, strict=True)
    ]


def _layouts(
    model: "TransformersModel",
    lead: int,
    sizes: tuple[int, int] | None,
    plan: Any,
    model_kwargs: Mapping[str, Any],
    *,
    pictures: bool,
) -> tuple[Layout, ...]:
    if isinstance(plan, Plan | Chain):
        return tuple(one.layout for one in (plan.plans if isinstance(plan, Chain) else (plan,)))
    if model.family != "glm-image":
        rows, cols = sizes or (None, None)
        return (model.layout(lead, rows=rows, cols=cols),)
    grids = model_kwargs.get("image_grid_thw")
    if grids is None:
        raise SpecError("expected image_grid_thw beside GLM-Image's ids, got none. Hand over what its processor gives.")
    if pictures:  # their grids come first; the one that is drawn has no preview
        each = model_kwargs.get("images_per_sample")
        last = [grids[-1]] if each is None else [grids[int(end) - 1] for end in each.cumsum(0)]
        drawn = {tuple(int(side) for side in one[1:]) for one in last}
        if len(drawn) != 1:
            raise SpecError(f"expected one grid for all prompts, got {len(drawn)}. Generate each size by itself.")
        rows, cols = drawn.pop()
        return (Layout(frames=1, rows=rows, cols=cols, lead=lead),)
    pairs = [tuple(int(side) for side in one[1:]) for one in grids]
    if len(pairs) % 2 or len(set(pairs[::2])) != 1 or len(set(pairs[1::2])) != 1:
        raise SpecError(
            "expected one picture and one preview for all prompts, got others. Generate each size by itself."
        )
    (rows, cols), (ph, pw) = pairs[0], pairs[1]
    return (
        Layout(frames=1, rows=ph, cols=pw, lead=lead),
        Layout(frames=1, rows=rows, cols=cols, lead=lead + ph * pw),
    )


def _chain(layouts: Sequence[Layout], plan: Any, policies: Policies | None) -> Plan | Chain:
    if isinstance(plan, Plan | Chain):
        return plan
    if plan is not None and not isinstance(plan, NextToken | Diagonal | ZipAR | Imported):
        raise SpecError(
            f"expected plan to be a plan, a chain or a schedule, got plan={named_briefly(plan)}. Give one, such as "
            "Diagonal(k=2)."
        )
    plans = [compile_plan(layout, plan or NextToken(), policies) for layout in layouts]
    return plans[0] if len(plans) == 1 else chain_of(plans)


def _sampler(config: Any) -> Sampler:
    """As generation_config says, with transformers' own defaults: top_k is 50 where nobody sets it."""
    return Greedy() if config is None else generation_defaults(config.to_dict()).sampler()


def _decoded(
    model: "TransformersModel",
    prompted: Prompted,
    plan: Plan | Chain,
    scale: float | None,
    sampler: Sampler,
    seed: int | None,
    chunk: int,
) -> tuple[Ids, ...]:
    """Tokens of every grid, int64 [B, h, w]."""
    import torch

    if seed is None:
        seed = 0 if isinstance(sampler, Greedy) else int(torch.randint(1 << 31, (1,)))
    rows = np.concatenate([prompted.given(branch) for branch in range(len(prompted.branches))])
    options: dict[str, Any] = {
        "sampler": sampler, "seed": seed, "batch": len(prompted.texts), "guidance": scale,
        "pad": prompted.pad if prompted.pad.any() else None, "chunk": chunk,
    }  # fmt: skip
    if isinstance(plan, Chain):
        return tuple(tokens[:, 0] for tokens in replay_chain(plan, model, rows, **options).tokens)
    prepared = executor.prepare(plan, model, **options)
    return (executor.replay(prepared, executor.new_state(prepared, rows)).tokens[:, 0],)


def _as_generated(model: "TransformersModel", ids: Ids, grids: Sequence[Ids], like: Any, config: Any) -> Any:
    import torch

    between, end = np.array(model.raster.between_rows), np.array(model.raster.end)
    if model.family == "janus-pro":
        parts = [grid.reshape(len(grid), -1) for grid in grids]
    else:
        parts = [ids]
        for grid in grids:
            gaps = np.broadcast_to(between, (*grid.shape[:2], len(between)))
            lines = np.concatenate([grid, gaps], axis=2).reshape(len(grid), -1)
            parts.append(lines[:, : lines.shape[1] - len(between)])
        parts.append(np.broadcast_to(end, (len(ids), len(end))))
    sequences = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.int64)).to(like.device)
    if not getattr(config, "return_dict_in_generate", False):
        return sequences
    from transformers.generation.utils import GenerateDecoderOnlyOutput

    held: Any = sequences
    return GenerateDecoderOnlyOutput(sequences=held)
