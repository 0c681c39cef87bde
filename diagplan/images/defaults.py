"""How a family samples where nobody says: as its folder's generation_config.json has it, or as its release does."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from diagplan.adapters.hf_generation import generation_defaults
from diagplan.adapters.samplers import Greedy, Sample, Sampler
from diagplan.images.folder import ModelFolder
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["Choice", "asked_for", "changed", "default_sampler", "described"]


_VALUES = ("greedy", "temperature", "top_k", "top_p", "min_p")


class Choice(NamedTuple):
    """A sampler, and where it comes from.

    Attributes:
        sampler: how ids are chosen.
        source: for people.
    """

    sampler: Sampler
    source: str


def default_sampler(folder: ModelFolder, release: Sample | None, name: str, *, sampled: bool = False) -> Choice:
    """The sampler of a folder.

    Args:
        folder: its generation_config.json holds where it says ``do_sample``.
        release: how the original release samples; ``None``: as transformers' ``generate`` does.
        name: of the release.
        sampled: whether the release calls ``generate`` with ``do_sample`` whatever the file says.

    Raises:
        DocumentError: values in generation_config.json that no sampler takes.
    """
    if release is not None and not is_file(folder.model / "generation_config.json"):
        return Choice(release, f"as {name} samples")
    defaults = generation_defaults(folder.model)
    top_k = "off" if defaults.top_k is None else defaults.top_k
    own = "states no top_k: transformers takes 50" if "top_k" not in defaults.stated else f"states top_k {top_k}"
    if release is not None and not defaults.do_sample:
        return Choice(release, f"as {name} samples; generation_config.json has no do_sample, and {own}")
    if not (sampled or defaults.do_sample):
        return Choice(Greedy(), "generation_config.json has no do_sample")
    return Choice(replace(defaults, do_sample=True).sampler(), f"as generation_config.json has it, which {own}")


def asked_for(choice: Choice, values: Mapping[str, Any]) -> Choice:
    """``changed`` by a mapping.

    Raises:
        SpecError: a key that is no argument of it; else as there.
    """
    unknown = [name for name in values if name not in _VALUES]
    if unknown:
        raise SpecError(f"expected sampling by {', '.join(_VALUES)}, got {shown(unknown[0])}. Correct its name.")
    return changed(choice, **values)


def changed(
    choice: Choice,
    *,
    greedy: bool = False,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Choice:
    """The same with what is asked for; 0 of temperature is greedy, 0 of top_k and 1 of top_p keep all.

    Raises:
        SpecError: values that contradict each other, or that no sampler takes.
    """
    asked = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if greedy and given:
        raise SpecError(f"expected greedy or {next(iter(given))}, got both. Give one of them.")
    if greedy or given.get("temperature") == 0:
        return Choice(Greedy(), "as asked")
    if not given:
        return choice
    if given.get("top_k") == 0:
        given["top_k"] = None
    if given.get("top_p") == 1:
        given["top_p"] = None
    base = choice.sampler if isinstance(choice.sampler, Sample) else Sample()
    return Choice(replace(base, **given), f"{' and '.join(given)} as asked, the rest: {choice.source}")


def described(sampler: Sampler) -> str:
    """A sampler in words.

    >>> described(Sample(temperature=1.0, top_k=50))
    'temperature 1, top-k 50'
    """
    if isinstance(sampler, Greedy):
        return "greedy"
    parts = [f"temperature {sampler.temperature:g}"]
    parts += [] if sampler.top_k is None else [f"top-k {sampler.top_k}"]
    parts += [] if sampler.top_p is None else [f"top-p {sampler.top_p:g}"]
    parts += [] if sampler.min_p is None else [f"min-p {sampler.min_p:g}"]
    return ", ".join(parts) if parts[1:] else f"{parts[0]}, all ids"
