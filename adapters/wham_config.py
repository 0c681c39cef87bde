"""The sizes of WHAM's GPTs, and the two published ones by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

from diagplan.adapters.contract import Widths
from diagplan.adapters.devices import Quantize
from diagplan.adapters.parallel_cuts import Cut, cut_shapes
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, store_int
from diagplan.planner.shown import shown

__all__ = ["CONFIGS", "WhamConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhamConfig:
    """A GPT's sizes, and how its sequence is made up.

    Args:
        n_layer, n_head, n_embd: layers, heads and width.
        nanogpt_version: 1: the norms of a block are learned; 2: they have no parameters.
        bias: whether linear layers and learned norms have biases; the head never has.
        seq_len: frames of the longest sequence, each with its action.
        rows, cols: the grid of a frame.
        image_codes: image ids are 0 to this, less one.
        buttons, sticks, bins: of the controller: two ids for a button, ``bins`` for an axis of a stick.

    Raises:
        SpecError: sizes that do not fit together.
    """

    n_layer: int
    n_head: int
    n_embd: int
    nanogpt_version: Literal[1, 2] = 1
    bias: bool = True
    seq_len: int = 10
    rows: int = 18
    cols: int = 30
    image_codes: int = 16384
    buttons: int = 12
    sticks: int = 4
    bins: int = 11

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "bias":
                smallest = {"buttons": 0, "sticks": 0, "image_codes": 2}.get(field.name, 1)
                store_int(self, field.name, smallest)
        if self.nanogpt_version not in (1, 2):
            raise SpecError(
                f"expected nanogpt_version to be 1 or 2, got nanogpt_version={shown(self.nanogpt_version)}."
            )
        if not isinstance(self.bias, bool):
            raise SpecError(f"expected bias to be true or false, got bias={shown(self.bias)}.")
        if self.n_embd % self.n_head:
            raise SpecError(f"expected heads that divide the width, got n_embd={self.n_embd} and n_head={self.n_head}.")

    @property
    def head_size(self) -> int:
        """D, the width of one head."""
        return self.n_embd // self.n_head

    @property
    def action_tokens(self) -> int:
        """Tokens of one action: one for each button and each axis."""
        return self.buttons + self.sticks

    @property
    def vocab_size(self) -> int:
        """V: image codes, then the ids of actions."""
        return self.image_codes + 2 * self.buttons + self.bins * self.sticks

    @property
    def frame_tokens(self) -> int:
        """Tokens of one frame and its action."""
        return self.rows * self.cols + self.action_tokens

    @property
    def positions(self) -> int:
        """The longest sequence, in slots."""
        return self.seq_len * self.frame_tokens

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """As in ``diagplan.adapters.contract.Model``."""
        return ((self.n_head, self.head_size),) * (2 * self.n_layer)

    @property
    def widths(self) -> Widths:
        """Of a layer."""
        return Widths(self.n_embd, self.n_head, self.n_head, self.head_size, 4 * self.n_embd)

    def weight_bytes(
        self,
        itemsize: int,
        quantize: Quantize | None = None,
        *,
        packed: bool = False,
        text_tokens: int = 0,
        cuts: Mapping[str, Cut] | None = None,
    ) -> int:
        """Bytes of a model's weights; the head counts where it is a second, reordered copy of the embedding.

        ``cuts``: of one rank's part.
        """
        del text_tokens
        sizes = {name: math.prod(shape) for name, shape in cut_shapes(self.shapes(), cuts or {}).items()}
        if not packed:
            del sizes["lm_head.weight"]
        linear = sum(size for name, size in sizes.items() if ".c_" in name and name.endswith("weight"))
        small = linear if quantize == "int8" else 0
        return small + (sum(sizes.values()) - small) * itemsize

    def action_ranges(self) -> tuple[tuple[int, int], ...]:
        """The ids that each token of an action may take, as half-open ranges."""
        widths = [2] * self.buttons + [self.bins] * self.sticks
        ends = [self.image_codes + sum(widths[: i + 1]) for i in range(len(widths))]
        return tuple((end - width, end) for end, width in zip(ends, widths, strict=True))

    def layout(self, frames: int = 1, *, prompt_frames: int | None = None) -> Layout:
        """The layout of ``frames`` generated frames; by default after as many frames as the context has room for.

        Raises:
            SpecError: more frames than the context.

        >>> CONFIGS["wham-200m"].layout().prompt_frames
        9
        """
        prompt = self.seq_len - frames if prompt_frames is None else prompt_frames
        if prompt + frames > self.seq_len:
            raise SpecError(
                f"expected at most {self.seq_len} frames, prompt included, got {shown(prompt)} + {frames}. "
                "Longer videos are rolled: see compile_rollout."
            )
        return Layout(
            frames=frames, rows=self.rows, cols=self.cols, prompt_frames=prompt, between_frames=self.action_tokens
        )

    def action_layout(self, frames: int) -> Layout:
        """The layout that generates the action of the last of ``frames`` frames: all before it leads, one row follows.

        Replay it on ``Wham.policy()`` with a next-token plan.
        """
        self.layout(1, prompt_frames=frames - 1)
        lead = frames * self.frame_tokens - self.action_tokens
        return Layout(frames=1, rows=1, cols=self.action_tokens, lead=lead)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as in a checkpoint below ``predictor.gpt_model.``."""
        width = self.n_embd
        norm = ["weight", *(["bias"] if self.bias else [])]
        shapes: dict[str, tuple[int, ...]] = {"transformer.wpe.weight": (self.positions, width)}
        for i in range(self.n_layer):
            at = f"transformer.h.{i}."
            for layer, (out, into) in {
                "attn.c_attn": (3 * width, width),
                "attn.c_proj": (width, width),
                "mlp.c_fc": (4 * width, width),
                "mlp.c_proj": (width, 4 * width),
            }.items():
                shapes[f"{at}{layer}.weight"] = (out, into)
                if self.bias:
                    shapes[f"{at}{layer}.bias"] = (out,)
            if self.nanogpt_version == 1:
                shapes |= {f"{at}{layer}.{part}": (width,) for layer in ("ln_1", "ln_2") for part in norm}
        shapes |= {f"transformer.ln_f.{part}": (width,) for part in norm}
        vocabulary = (self.vocab_size, width)
        return shapes | {"transformer.wte.weight": vocabulary, "lm_head.weight": vocabulary}


#: The two published models. Version and bias are not published: loading takes them from the tensors.
CONFIGS: Mapping[str, WhamConfig] = MappingProxyType(
    {
        "wham-200m": WhamConfig(n_layer=16, n_head=16, n_embd=1024, nanogpt_version=2),
        "wham-1.6b": WhamConfig(n_layer=24, n_head=18, n_embd=2304),
    }
)
