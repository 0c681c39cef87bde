"""What a model's own generation_config.json says of sampling, with what transformers adds in silence: top_k = 50.

Facts: transformers 4.57 to 5.24, GenerationConfig. A key that the file leaves out has transformers' own value; a top_k
of 0 is off. Nothing is loaded but the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diagplan.adapters.samplers import Greedy, Sample, Sampler
from diagplan.planner.arguments import is_file, require_number
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.shown import shown
from diagplan.schemas.json_objects import read_json_object

__all__ = ["GenerationDefaults", "generation_defaults"]

_NAME, _BYTES = "generation_config.json", 1 << 20
#: What transformers takes where the file says nothing.
_OWN: Mapping[str, Any] = MappingProxyType(
    {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": None, "guidance_scale": None}
)
#: Keys that change which token is chosen, the value that changes nothing, and that no sampler of diagplan has.
_OTHERS: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "repetition_penalty": (None, 1, 1.0),
        "encoder_repetition_penalty": (None, 1, 1.0),
        "no_repeat_ngram_size": (None, 0),
        "typical_p": (None, 1, 1.0),
        "epsilon_cutoff": (None, 0, 0.0),
        "eta_cutoff": (None, 0, 0.0),
        "top_h": (None,),
        "num_beams": (None, 1),
        "penalty_alpha": (None,),
        "suppress_tokens": (None, []),
        "begin_suppress_tokens": (None, []),
        "bad_words_ids": (None, []),
        "sequence_bias": (None,),
        "watermarking_config": (None,),
    }
)
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """How ``model.generate`` would choose tokens if nothing else were asked for.

    Attributes:
        do_sample: whether it samples; else it is greedy.
        temperature, top_k, top_p, min_p: of the sampler; ``None``: off.
        guidance_scale: of classifier-free guidance; ``None``: none.
        stated: names of these that the file states; the others are transformers' own.
        ignored: keys of the file that change the choice, and that a replay does not follow.
        ids: special ids by name: those of the file, and ``boi_token_id`` of its ``generation_kwargs``.
    """

    do_sample: bool
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    guidance_scale: float | None
    stated: tuple[str, ...] = ()
    ignored: Mapping[str, Any] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)

    def sampler(self) -> Sampler:
        """The same as a sampler of diagplan."""
        if not self.do_sample:
            return Greedy()
        return Sample(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)

    def lines(self) -> list[str]:
        """One line for each value, and where it comes from.

        >>> generation_defaults({}).lines()[2]
        "top_k 50 (transformers' own, the file says nothing)"
        """
        told = []
        for name in _OWN:
            value = getattr(self, name)
            origin = _NAME if name in self.stated else "transformers' own, the file says nothing"
            told.append(f"{name} {'off' if value is None else value} ({origin})")
        return told + [f"{name} {shown(value)} ({_NAME}, not followed)" for name, value in self.ignored.items()]


def generation_defaults(folder: str | Path | Mapping[str, Any]) -> GenerationDefaults:
    """Read the generation_config.json of a model's folder.

    Args:
        folder: with the file; without one everything is transformers' own. Or what such a file holds.

    Raises:
        DocumentError: a file that is no JSON object, or that holds a value out of range.
    """
    if isinstance(folder, Mapping):
        return _from(folder)
    path = Path(folder, _NAME)
    if not is_file(path):
        return _from({})
    held = read_json_object(path, _BYTES)
    try:
        return _from(held)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None


def _from(held: Mapping[str, Any]) -> GenerationDefaults:
    values = {name: own if held.get(name) is None else held[name] for name, own in _OWN.items()}
    if not isinstance(values["do_sample"], bool):
        raise SpecError(f"expected do_sample to be true or false, got {shown(values['do_sample'])}. Correct it.")
    for name in ("temperature", "top_p", "min_p", "guidance_scale"):
        if values[name] is not None:
            values[name] = require_number(name, values[name], "Correct the file.", finite=True)
    values["top_k"] = require_int("top_k", values["top_k"], 0) or None
    values["top_p"] = None if values["top_p"] >= 1 else values["top_p"]
    more = held.get("generation_kwargs")
    ids = {name: held.get(name) for name in _IDS}
    ids["boi_token_id"] = more.get("boi_token_id") if isinstance(more, dict) else None
    defaults = GenerationDefaults(
        **values,
        stated=tuple(name for name in _OWN if held.get(name) is not None),
        ignored={name: held[name] for name, fine in _OTHERS.items() if name in held and held[name] not in fine},
        ids={name: value for name, value in ids.items() if isinstance(value, int) and not isinstance(value, bool)},
    )
    defaults.sampler()  # says what is out of range
    return defaults
